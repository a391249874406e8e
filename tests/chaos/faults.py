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


# After job-processing folklore: what kills queues in the field, most of all workers that die or freeze.
KINDS = (
    Kind("kill render worker", 26),
    Kind("kill render child", 14),
    Kind("kill io worker", 10),
    Kind("kill deliver worker", 4),
    Kind("kill api", 6),
    Kind("kill dispatcher", 5),
    Kind("kill moderator", 2),
    Kind("freeze render worker", 10, (LEASE_SECONDS + 1, LEASE_SECONDS + 3)),
    Kind("freeze io worker", 6, (LEASE_SECONDS + 1, LEASE_SECONDS + 3)),
    Kind("freeze dispatcher", 2, (LEASE_SECONDS, LEASE_SECONDS + 2)),
    Kind("flush valkey", 5),
    Kind("kill valkey", 4),
    Kind("stop postgres", 3),
    Kind("store refuses", 3, (3.0, 8.0)),
    Kind("store swallows", 2, (2.0, 5.0)),
    Kind("postgres slow", 3, (2.0, 5.0)),
    Kind("postgres resets", 3, (0.2, 1.0)),
    Kind("postgres swallows", 1, (1.0, 3.0)),
    Kind("valkey slow", 2, (2.0, 5.0)),
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


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run; the same seed gives the same."""
    draw = random.Random(seed)
    faults: list[Fault] = []
    at = draw.uniform(*PAUSE)
    while at < seconds:
        kind = draw.choices(KINDS, [each.weight for each in KINDS])[0]
        faults.append(Fault(at, kind.name, draw.uniform(*kind.seconds), draw.random()))
        at += draw.uniform(*PAUSE)
    return faults
