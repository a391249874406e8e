"""How long after each fault work went on: the next claim, and the next video that was done."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Struck:
    """A fault that happened: `at` seconds after the start, `clock` in Unix time."""

    at: float
    clock: float
    kind: str
    seconds: float
    hit: bool = True  # False: what it was meant for was down already


@dataclass(frozen=True)
class Recovery:
    """Seconds from the faults of one kind until work went on; None where nothing was left to go on with."""

    kind: str
    times: int
    claim_p50: float | None
    claim_max: float | None
    done_p50: float | None
    done_max: float | None


def recoveries(faults: Iterable[Struck], claims: Sequence[float], ends: Sequence[float]) -> list[Recovery]:
    """One row per kind, by name. `claims` and `ends` are moments in Unix time, in any order."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for fault in (each for each in faults if each.hit):
        by_kind[fault.kind].append(fault.clock)
    return [_recovery(kind, clocks, sorted(claims), sorted(ends)) for kind, clocks in sorted(by_kind.items())]


def _recovery(kind: str, clocks: list[float], claims: list[float], ends: list[float]) -> Recovery:
    claim, done = _waits(clocks, claims), _waits(clocks, ends)
    return Recovery(
        kind,
        len(clocks),
        round(median(claim), 2) if claim else None,
        round(max(claim), 2) if claim else None,
        round(median(done), 2) if done else None,
        round(max(done), 2) if done else None,
    )


def _waits(clocks: list[float], moments: list[float]) -> list[float]:
    """From each clock to the next moment after it, where there is one."""
    places = ((clock, bisect_right(moments, clock)) for clock in clocks)
    return [moments[place] - clock for clock, place in places if place < len(moments)]
