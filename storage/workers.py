"""Workers as they report themselves, and the snapshot of the queues that positions and ETAs come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from domain.lifecycle import Stage, State
from storage.lifecycle import GPU_MS
from storage.tables import LEASED, NOW, attempts, queue_snapshots, videos, workers

BACKLOG_BOUND = 10_000  # a snapshot counts no further
ALIVE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that claims from some queues."""

    id: str
    queues: tuple[str, ...]
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One render queue two seconds ago: waiting videos by tenant, slots, mean render time."""

    backlog: dict[str, int]
    slots: int
    mean_ms: int


def beat_for_any_tenant(
    connection: Connection,
    worker: Worker,
    state: Literal["idle", "busy", "draining"],
    video_id: UUID | None = None,
    model: str | None = None,
    *,
    first: bool = False,
    drained: bool = False,
) -> bool:
    """Say that the worker lives and what it does. True: somebody asked it to take no more work.

    The first report of a process forgets what was asked of an earlier one of the same name. `drained`: what this one
    was told before, in case it was silent for so long that its row is gone.
    """
    values = {
        "id": worker.id,
        "queues": list(worker.queues),
        "host": worker.host,
        "pid": worker.pid,
        "state": state,
        "video_id": video_id,
        "model": model,
        "beat_at": NOW,
    }
    born = {"drain_requested_at": None, "started_at": NOW} if first else {}
    asked = {"drain_requested_at": NOW if drained else None}
    written = insert(workers).values(values | asked).on_conflict_do_update(index_elements=["id"], set_=values | born)
    return connection.execute(written.returning(workers.c.drain_requested_at)).scalar_one() is not None


def ask_to_drain_for_any_tenant(connection: Connection, worker_id: str) -> bool:
    """Let a living worker take no more work. False if there is none of that name."""
    living = sa.update(workers).where(workers.c.id == worker_id, workers.c.beat_at > NOW - ALIVE)
    asked = living.values(drain_requested_at=sa.func.coalesce(workers.c.drain_requested_at, NOW))
    return connection.execute(asked).rowcount == 1


def let_resume_for_any_tenant(connection: Connection, worker_id: str) -> bool:
    """Let a living worker take work again. False if there is none of that name."""
    living = sa.update(workers).where(workers.c.id == worker_id, workers.c.beat_at > NOW - ALIVE)
    return connection.execute(living.values(drain_requested_at=None)).rowcount == 1


def overstaying_for_any_tenant(
    connection: Connection, worker_ids: Sequence[str], seconds: float, *, loading_seconds: float, watched_seconds: float
) -> Sequence[str]:
    """Which of these say that they work on a video although their last attempt at it ended `seconds` ago.

    A render that has made no step yet has `loading_seconds`. Who holds any video is at work, whatever it said last;
    and what was said longer than `watched_seconds` ago may be from an earlier process of the same name.
    """
    lost, held = videos.alias("lost"), videos.alias("held")
    drawn = sa.func.coalesce(attempts.c.timings.has_key(GPU_MS), sa.false())  # later attempts begin without progress
    loads = sa.and_(attempts.c.stage == Stage.RENDER, lost.c.stage_progress.is_(None), sa.not_(drawn))
    allowed = sa.case((loads, timedelta(seconds=loading_seconds)), else_=timedelta(seconds=seconds))
    at_work = sa.exists().where(held.c.worker == workers.c.id, sa.text(f"held.{LEASED}"))
    theirs = sa.and_(attempts.c.video_id == workers.c.video_id, attempts.c.worker == workers.c.id)
    query = sa.select(workers.c.id).join(attempts, theirs).join(lost, lost.c.id == attempts.c.video_id)
    own = workers.c.beat_at > NOW - timedelta(seconds=watched_seconds)
    over = sa.func.max(attempts.c.ended_at + allowed) < NOW
    return connection.scalars(
        query.where(workers.c.id.in_(worker_ids), own, sa.not_(at_work)).group_by(workers.c.id).having(over)
    ).all()


def list_for_any_tenant(connection: Connection) -> Sequence[RowMapping]:
    """Living workers by name: their columns."""
    query = sa.select(workers).where(workers.c.beat_at > NOW - ALIVE)
    return connection.execute(query.order_by(workers.c.id)).mappings().all()


def snapshots_for_any_tenant(connection: Connection) -> Sequence[RowMapping]:
    """The latest count of each render queue: queue, backlog by tenant, slots, mean_ms, at."""
    return connection.execute(sa.select(queue_snapshots).order_by(queue_snapshots.c.queue)).mappings().all()


def forget_for_any_tenant(connection: Connection, silent_seconds: float) -> None:
    """Drop workers that have been silent for so long that they are gone."""
    connection.execute(sa.delete(workers).where(workers.c.beat_at < NOW - timedelta(seconds=silent_seconds)))


def idle_for_any_tenant(connection: Connection, queue: str) -> int:
    """Living workers of the queue that wait for work."""
    query = sa.select(sa.func.count()).where(
        sa.literal(queue) == sa.any_(workers.c.queues), workers.c.state == "idle", workers.c.beat_at > NOW - ALIVE
    )
    return connection.scalar(query) or 0


def queues_for_any_tenant(connection: Connection) -> Sequence[str]:
    """Every queue that a living worker serves."""
    served = sa.select(sa.func.unnest(workers.c.queues).label("queue")).where(workers.c.beat_at > NOW - ALIVE)
    return connection.scalars(served.distinct()).all()


def snapshot_for_any_tenant(connection: Connection, queue: str) -> None:
    """Count what waits in a render queue, and write it down for the API to read."""
    some = (
        sa.select(videos.c.tenant_id)
        .where(videos.c.queue == queue, videos.c.state == sa.literal_column(f"'{State.QUEUED}'"))
        .limit(BACKLOG_BOUND)
        .subquery()
    )
    counts = connection.execute(sa.select(some.c.tenant_id, sa.func.count()).group_by(some.c.tenant_id)).all()
    slots = sa.select(sa.func.count()).where(
        sa.literal(queue) == sa.any_(workers.c.queues), workers.c.state != "draining", workers.c.beat_at > NOW - ALIVE
    )
    values = {
        "queue": queue,
        "backlog": {tenant.hex: count for tenant, count in counts},
        "slots": connection.scalar(slots) or 0,
        "mean_ms": _mean_render_ms(connection),
        "at": NOW,
    }
    statement = insert(queue_snapshots).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["queue"], set_=values))


def read_snapshot_for_any_tenant(connection: Connection, queue: str) -> Snapshot | None:
    """The queue as it was; None if nobody has looked in the last minute."""
    fresh = queue_snapshots.c.at > NOW - timedelta(seconds=60)
    query = sa.select(queue_snapshots.c.backlog, queue_snapshots.c.slots, queue_snapshots.c.mean_ms)
    row = connection.execute(query.where(queue_snapshots.c.queue == queue, fresh)).one_or_none()
    return None if row is None else Snapshot(row.backlog, row.slots, row.mean_ms)


def _mean_render_ms(connection: Connection) -> int:
    until_its_end = sa.func.extract("epoch", attempts.c.ended_at - attempts.c.started_at) * 1000
    took = sa.func.coalesce(attempts.c.timings[GPU_MS].as_integer(), until_its_end)  # its tail holds up nobody
    recent = (
        sa.select(took.label("ms"))
        .where(
            attempts.c.stage == "render", attempts.c.outcome == "done", attempts.c.ended_at > NOW - timedelta(days=1)
        )
        .order_by(attempts.c.ended_at.desc())
        .limit(20)
        .subquery()
    )
    return int(connection.scalar(sa.select(sa.func.coalesce(sa.func.avg(recent.c.ms), 0))) or 0)
