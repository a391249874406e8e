"""What breaks, and when: a schedule that follows from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

LEASE_SECONDS = 3.0


@dataclass(frozen=True)
class Kind:
    """One way to break something: how often it is drawn, and how long it lasts."""

    name: str
    weight: int
    seconds: tuple[float, float] = (0.0, 0.0)


# What kills queues in the field, most of all workers that die or freeze.
KINDS = (
    Kind("kill render worker", 20),
    Kind("kill render child", 12),
    Kind("kill io worker", 9),
    Kind("kill deliver worker", 4),
    Kind("kill api", 5),
    Kind("kill dispatcher", 4),
    Kind("kill moderator", 2),
    Kind("freeze render worker", 8, (LEASE_SECONDS + 1, LEASE_SECONDS + 3)),
    Kind("freeze io worker", 5, (LEASE_SECONDS + 1, LEASE_SECONDS + 3)),
    Kind("freeze deliver worker", 1, (LEASE_SECONDS, LEASE_SECONDS + 2)),
    Kind("freeze dispatcher", 2, (LEASE_SECONDS, LEASE_SECONDS + 2)),
    Kind("freeze api", 1, (LEASE_SECONDS, LEASE_SECONDS + 2)),
    Kind("flush valkey", 4),
    Kind("kill valkey", 3),
    Kind("stop postgres", 3),
    Kind("kill store", 2),
    Kind("store refuses", 2, (3.0, 8.0)),
    Kind("store swallows", 2, (2.0, 5.0)),
    Kind("store slow", 1, (2.0, 5.0)),
    Kind("store resets", 2, (0.5, 2.0)),
    Kind("postgres slow", 2, (2.0, 5.0)),
    Kind("postgres resets", 3, (0.2, 1.0)),
    Kind("postgres swallows", 1, (1.0, 3.0)),
    Kind("valkey slow", 1, (2.0, 5.0)),
    Kind("valkey resets", 2, (0.5, 2.0)),
    Kind("valkey swallows", 2, (2.0, 6.0)),
)
PAUSE = (1.2, 3.0)


@dataclass(frozen=True)
class Fault:
    """One thing that breaks `at` so many seconds after the start, and is mended `seconds` later."""

    at: float
    kind: str
    seconds: float
    pick: float  # which of several processes, as a fraction

    def __str__(self) -> str:
        return self.kind + (f" for {self.seconds:.1f} s" if self.seconds else "")


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run; the same seed gives the same. Each kind comes at least once if there is time for all."""
    draw = random.Random(seed)
    moments: list[float] = []
    at = draw.uniform(*PAUSE)
    while at < seconds:
        moments.append(at)
        at += draw.uniform(*PAUSE)
    each_once = draw.sample(KINDS, min(len(KINDS), len(moments)))
    more = draw.choices(KINDS, [kind.weight for kind in KINDS], k=len(moments) - len(each_once))
    kinds = [*each_once, *more]
    draw.shuffle(kinds)
    return [
        Fault(moment, kind.name, draw.uniform(*kind.seconds), draw.random())
        for moment, kind in zip(moments, kinds, strict=True)
    ]


def outages(seconds: float, times: int, length: float) -> list[Fault]:
    """The store away, so many times for so long, spread evenly over a run."""
    gap = seconds / (times + 1)
    return [Fault(gap * number - length / 2, "store refuses", length, 0.0) for number in range(1, times + 1)]
