"""What a render is told while somebody else draws: only what was really seen."""

from __future__ import annotations

import time

from engines.protocol import OnStep, Step
from engines.upstream.calls import SLICE
from engines.upstream.wire import Job

QUEUED = "queued"
ESTIMATED_AT_MOST = 0.95  # of the steps: an estimate never says that all is done


class Watch:
    """Turns the answers of a far end into steps, and rests between them without going deaf.

    Once a far end has shown a percentage, only a change of it counts as progress. One that shows none until the end
    is taken at its word that it works; the steps are then estimated from `pace`, the seconds that such a video took
    before.
    """

    def __init__(self, on_step: OnStep, steps: int, pace: float | None) -> None:
        self._on_step = on_step
        self._steps = steps
        self._pace = pace
        self._last = Step("wait", 0, 0)
        self._signs = 0
        self._shows = False
        self._working_since: float | None = None

    @property
    def worked(self) -> float:
        """Seconds since the far end was first seen to work on it."""
        return 0.0 if self._working_since is None else time.monotonic() - self._working_since

    def begin(self) -> None:
        """It is asked for anew: what was seen of it before is void."""
        self._shows, self._working_since = False, None

    def saw(self, job: Job) -> None:
        """An answer about a video that is not ended yet. Raises what `on_step` raises."""
        if job.status == QUEUED:
            self.sign()
            return
        self._working_since = self._working_since or time.monotonic()
        self._shows = self._shows or 0 < job.progress < 100
        if self._shows:
            self._tell(Step("denoise", job.progress, 100))
            return
        self.sign()
        if self._pace:
            share = min(ESTIMATED_AT_MOST, self.worked / self._pace)
            self._tell(Step("denoise", int(share * self._steps), self._steps))

    def sign(self) -> None:
        """The far end lives: it has answered, or sent a part of the file."""
        self._signs += 1
        self._tell(Step("wait", self._signs, 0))

    def rest(self, seconds: float) -> None:
        """Nothing happens for a while, except that `on_step` may interrupt."""
        over_at = time.monotonic() + seconds
        self._on_step(self._last)
        while (left := over_at - time.monotonic()) > 0:
            time.sleep(min(left, SLICE))
            self._on_step(self._last)

    def _tell(self, step: Step) -> None:
        self._last = step
        self._on_step(step)
