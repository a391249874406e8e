"""Fair choice by virtual time (start-time fair queueing, Goyal et al. 1996), charged in GPU-milliseconds.

Each tenant owns a clock that runs by cost / weight while its videos render. The tenant whose clock is furthest
behind goes next. A tenant that slept starts at the slowest clock still running, ahead of it: idleness earns a
turn and no burst. (Behind it, the slowest clock would move on before the sleeper ever got in.)
`storage/schedule.py` says the same in SQL; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Share:
    """One tenant in one queue."""

    tenant: str
    backlog: int
    running: int = 0
    cap: int = 1
    weight: float = 1.0
    vtime: float = 0.0
    asleep: bool = True


def floor(shares: Iterable[Share]) -> float:
    """The slowest clock of those that are awake; 0 when all sleep."""
    return min((share.vtime for share in shares if not share.asleep), default=0.0)


def doze(share: Share) -> Share:
    """Asleep if there is nothing to do. Clocks move by claims only, so it is enough to look before each claim."""
    return replace(share, asleep=share.asleep or (share.running == 0 and share.backlog == 0))


def choose(shares: Iterable[Share]) -> Share | None:
    """The tenant that goes next, its clock raised to the floor if it slept; None if nobody may run."""
    known = [doze(share) for share in shares]
    lowest = floor(known)
    ready = [share for share in known if share.backlog > 0 and share.running < share.cap]
    first = min(ready, key=lambda share: (wake(share, lowest).vtime, not share.asleep, share.tenant), default=None)
    return None if first is None else wake(first, lowest)


def wake(share: Share, lowest: float) -> Share:
    """The share as it enters the contest."""
    return replace(share, vtime=max(share.vtime, lowest), asleep=False) if share.asleep else share


def claim(share: Share, estimate: float) -> Share:
    """One video taken: charged what it is expected to cost."""
    return replace(
        share,
        backlog=share.backlog - 1,
        running=share.running + 1,
        vtime=share.vtime + estimate / share.weight,
    )


def release(share: Share, estimate: float, cost: float) -> Share:
    """One video done: the charge corrected to what it did cost."""
    return replace(share, running=share.running - 1, vtime=share.vtime + (cost - estimate) / share.weight)
