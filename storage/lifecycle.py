"""Every change of a video's state: one guarded UPDATE, and all that follows from it in the same transaction.

State, event, attempt, fair share, ledger entry and webhook message cannot come apart, because only `move`
changes a state once a video exists (a claim changes it too, in `storage.schedule`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import JSONB

from domain.lifecycle import RUNS, STAGE_OF_RUNNING, STAGE_OF_WAITING, TERMINAL, Stage, State
from storage import announcements, guard, ledger, schedule
from storage.schedule import Lease
from storage.tables import NOW, attempts, events, objects, tenants, videos

GPU_MS = "gpu_ms"  # in an attempt's timings: what it cost, noted once it needed the GPU no more


@dataclass(frozen=True, slots=True)
class Move:
    """What a move expects and what it does. A worker names its fence; whoever holds the row's lock may not."""

    tenant_id: UUID
    video_id: UUID
    before: State
    after: State
    fence: int
    outcome: str = "done"  # of the attempt that this ends, if it ends one
    delay_seconds: float = 0.0  # before the next claim
    error_code: str | None = None
    error_message: str | None = None
    announce: bool = True  # whether webhooks tell of it
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    timings: dict[str, Any] | None = None


def move(connection: Connection, change: Move) -> bool:
    """Make the move with all its consequences. False if the video is no longer as expected: stop, discard."""
    row = _update(connection, change)
    if row is None:
        return False
    _record(connection, change, row["event_seq"])
    gpu_ms: int = row["gpu_ms"]
    if change.before in STAGE_OF_RUNNING:
        gpu_ms += _end_attempt(connection, change, row["queue_before"])
    if change.announce:
        url = row["webhook_url"]
        announcements.announce_state(connection, change.tenant_id, change.video_id, change.after, url)
    if change.after in TERMINAL:
        _end(connection, change, gpu_ms)
    return True


def note_gpu_time(connection: Connection, lease: Lease, gpu_ms: int) -> None:
    """The attempt needs the GPU no more: whatever becomes of it, this is what it cost. Nothing if it is over."""
    mine = sa.update(attempts).where(*guard.attempt(lease.video_id, lease.fence))
    connection.execute(mine.values(timings={GPU_MS: gpu_ms}))


def _update(connection: Connection, change: Move) -> sa.RowMapping | None:
    before = sa.select(videos.c.id, videos.c.queue).where(videos.c.id == change.video_id).subquery("before")
    guarded = (
        sa.update(videos)
        .where(
            videos.c.id == before.c.id,
            *guard.expected(change.tenant_id, change.video_id, change.before, change.fence),
        )
        .values(**_values(change))
        .returning(
            videos.c.event_seq,
            videos.c.gpu_ms,
            before.c.queue.label("queue_before"),
            videos.c.request["webhook_url"].label("webhook_url"),
        )
    )
    return connection.execute(guarded).mappings().one_or_none()


def _values(change: Move) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": change.after,
        "event_seq": videos.c.event_seq + 1,
        "worker": None,
        "lease_until": None,
    }
    if change.after in STAGE_OF_WAITING:
        values |= _waiting(change, STAGE_OF_WAITING[change.after])
    if (change.before, change.after) == (State.PUBLISHING, State.HELD):
        values |= _for_a_person()
    if change.after in TERMINAL:
        values |= _ended(change)
    return values | change.values


def _waiting(change: Move, stage: Stage) -> dict[str, Any]:
    again = RUNS[stage].running is change.before
    fresh: dict[str, Any] = {} if again else {"failures": 0, "crashes": 0}
    queue = videos.c.pool if stage is Stage.RENDER else stage.value
    return {"queue": queue, "run_at": NOW + timedelta(seconds=change.delay_seconds), **fresh}


def _for_a_person() -> dict[str, Any]:
    """Rendering may have lasted beyond the deadline of waiting: the decision gets as much time as there was for all."""
    return {
        "queue_deadline": sa.func.greatest(
            videos.c.queue_deadline, NOW + (videos.c.queue_deadline - videos.c.created_at)
        )
    }


def _ended(change: Move) -> dict[str, Any]:
    retention = sa.select(tenants.c.retention_seconds * sa.literal(timedelta(seconds=1), sa.Interval))
    kept = NOW + retention.where(tenants.c.id == change.tenant_id).scalar_subquery()
    ended: dict[str, Any] = {"completed_at": NOW, "expires_at": kept}
    if change.after is State.COMPLETED:
        return {**ended, "progress": 100, "stage_progress": None}
    return {**ended, "error_code": change.error_code, "error_message": change.error_message}


def _record(connection: Connection, change: Move, seq: int) -> None:
    data = {**change.data, **({"code": change.error_code} if change.error_code else {})}
    connection.execute(
        sa.insert(events).values(
            tenant_id=change.tenant_id, video_id=change.video_id, seq=seq, type=change.after, data=data
        )
    )


def _end_attempt(connection: Connection, change: Move, queue: str) -> int:
    """Close the attempt and give its slot back. Returns the GPU milliseconds that it took."""
    attempt = connection.execute(
        sa.update(attempts)
        .where(*guard.attempt(change.video_id, change.fence))
        .values(ended_at=NOW, outcome=change.outcome, timings=_told(change))
        .returning(attempts.c.charged_ms, attempts.c.started_at, attempts.c.ended_at, attempts.c.timings)
    ).one()
    gpu_ms = 0
    cost_ms = schedule.LIGHT_COST_MS
    if change.before is State.RENDERING:
        gpu_ms = cost_ms = _gpu_ms(attempt.started_at, attempt.ended_at, attempt.timings or {})
        connection.execute(
            sa.update(videos).where(videos.c.id == change.video_id).values(gpu_ms=videos.c.gpu_ms + gpu_ms)
        )
    schedule.release(connection, change.tenant_id, queue, attempt.charged_ms, cost_ms)
    return gpu_ms


def _gpu_ms(start: datetime, end: datetime, noted: dict[str, Any]) -> int:
    """What was noted when the GPU was free again; without a note all of the attempt's time."""
    took_ms = max(1, round((end - start).total_seconds() * 1000))
    return max(1, min(took_ms, noted.get(GPU_MS, took_ms)))


def _told(change: Move) -> sa.ColumnElement[Any]:
    """What was noted on the way stays."""
    if change.timings is None:
        return attempts.c.timings
    return sa.func.coalesce(attempts.c.timings, sa.literal({}, JSONB)).op("||")(sa.literal(change.timings, JSONB))


def _end(connection: Connection, change: Move, gpu_ms: int) -> None:
    completed = change.after is State.COMPLETED
    doomed = sa.update(objects).where(objects.c.video_id == change.video_id, objects.c.doomed_at.is_(None))
    if completed:  # its inputs stay as long as the result: a remix begins with the same pictures
        stale = sa.and_(objects.c.purpose == "output", objects.c.fence != change.fence)
        doomed = doomed.where(sa.or_(objects.c.purpose == "draft", stale))
    connection.execute(doomed.values(doomed_at=NOW))
    ledger.settle(connection, change.tenant_id, change.video_id, gpu_ms=gpu_ms, completed=completed)
