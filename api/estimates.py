"""Where a video stands in its queue and how long it still takes, as well as anybody knows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from domain import eta
from domain.lifecycle import State
from storage import videos, workers
from storage.database import Database
from storage.progress import Rank
from storage.videos import Video
from storage.workers import Snapshot

MOST_AHEAD = 2_000  # a rank is counted no further
FRESH_SECONDS = 1.0
_WAITING = frozenset({State.RECEIVED, State.SCREENING, State.QUEUED})
_FINISHING = frozenset({State.RENDERED, State.PUBLISHING})


@dataclass(frozen=True, slots=True)
class Estimate:
    """`position` videos go first; the end is `eta_ms` away. None: not known."""

    position: int | None = None
    eta_ms: int | None = None


class Estimates:
    """Estimates from the dispatcher's view of each queue, which is read at most once a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, tuple[float, Snapshot | None]] = {}

    def of(self, video: Video) -> Estimate:
        """By the queue while it waits, by its pace while it renders; nothing for a video that is held or over."""
        if video.state in _WAITING:
            return self._of_waiting(video)
        if video.state is State.RENDERING:
            percent = video.progress if video.stage_progress else 0
            return Estimate(None, eta.until_end_of_rendering(_elapsed_ms(video), percent, video.estimate_ms))
        return Estimate(None, eta.FINISHING_MS if video.state in _FINISHING else None)

    def position(self, rank: Rank) -> int | None:
        """Videos that go before one of which only the rank is known. None: not known."""
        snapshot = self._snapshot(rank.pool)
        return None if snapshot is None else eta.position(rank.own, snapshot.backlog, rank.tenant_id.hex)

    def _of_waiting(self, video: Video) -> Estimate:
        snapshot = self._snapshot(video.pool)
        if snapshot is None:
            return Estimate()
        with self._database.transaction(video.tenant_id) as connection:
            own = videos.ahead(connection, video.tenant_id, video, MOST_AHEAD)
        position = eta.position(own, snapshot.backlog, video.tenant_id.hex)
        end = eta.until_end_of_queued(position, snapshot.slots, snapshot.mean_ms, video.estimate_ms)
        return Estimate(position, end)

    def _snapshot(self, queue: str) -> Snapshot | None:
        until, snapshot = self._seen.get(queue, (0.0, None))
        if time.monotonic() < until:
            return snapshot
        with self._database.transaction_for_any_tenant() as connection:
            snapshot = workers.read_snapshot_for_any_tenant(connection, queue)
        self._seen[queue] = (time.monotonic() + FRESH_SECONDS, snapshot)
        return snapshot


def _elapsed_ms(video: Video) -> int:
    if video.claimed_at is None:
        return 0
    return max(0, round((datetime.now(UTC) - video.claimed_at).total_seconds() * 1000))
