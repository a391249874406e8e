"""Leases: kept alive by the worker that holds them, handed back when it gives up, taken away when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.errors import VIDEO_ERRORS
from domain.lifecycle import RUNS, STAGE_OF_RUNNING, Stage, State
from domain.retries import MAX_CRASHES, MAX_FAILURES, crash_delay, stage_delay
from storage.announcements import announce_progress
from storage.lifecycle import Move, move
from storage.schedule import Lease, held_by
from storage.tables import LEASED, NOW, attempts, videos

UNDONE = "drafts_gone"
CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Reaped:
    """A lease that ran out: who held it, and where the video went."""

    tenant_id: UUID
    video_id: UUID
    worker: str
    queue: str
    after: State


@dataclass(frozen=True, slots=True)
class _Held:
    tenant_id: UUID
    video_id: UUID
    stage: Stage
    fence: int
    failures: int
    crashes: int


def renew(
    connection: Connection, lease: Lease, lease_seconds: float, progress: int, stage_progress: dict[str, Any] | None
) -> bool:
    """Prolong the lease and write how far the work is. False: lost. Touches no indexed column."""
    kept = connection.execute(
        sa.update(videos)
        .where(*held_by(lease))
        .values(
            lease_until=NOW + timedelta(seconds=lease_seconds),
            progress=sa.func.greatest(videos.c.progress, progress),
            stage_progress=stage_progress,
        )
    )
    if kept.rowcount == 1 and progress:
        announce_progress(connection, lease.tenant_id, lease.video_id, progress)
    return kept.rowcount == 1


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether the video is still this worker's: not cancelled, not deleted, not reaped."""
    return connection.scalar(sa.select(sa.literal(1)).where(*held_by(lease))) is not None


def fail(
    connection: Connection, lease: Lease, reason: str, error_code: str, at_last: State = State.FAILED
) -> State | None:
    """The stage failed in an orderly way: try again later, or after MAX_FAILURES go to `at_last` (failed or held).

    None: the lease was lost.
    """
    held = _lock(connection, lease)
    if held is None:
        return None
    failures = held.failures + 1
    if failures >= MAX_FAILURES:
        return _give_up(connection, held, error_code, reason, at_last)
    return _again(connection, held, reason, stage_delay(failures), {"failures": failures})


def hand_back(connection: Connection, lease: Lease, delay_seconds: float = 0.0) -> State | None:
    """The worker leaves (drain), or a server is away: the video waits again, and no failure is counted."""
    held = _lock(connection, lease)
    return None if held is None else _again(connection, held, "released", delay_seconds, {})


def came_back(connection: Connection, lease: Lease, how: Literal["rejected", "stopped"]) -> bool:
    """Note at an attempt that was taken for dead that its worker lived: with a result that was refused, or without.

    False if the attempt ended otherwise: then there is nothing to note.
    """
    mine = sa.and_(attempts.c.tenant_id == lease.tenant_id, attempts.c.video_id == lease.video_id)
    taken = sa.update(attempts).where(mine, attempts.c.fence == lease.fence, attempts.c.outcome == CRASHED)
    return connection.execute(taken.values(outcome=how)).rowcount == 1


def render_again(connection: Connection, lease: Lease, error_code: str) -> State | None:
    """A publisher found no drafts, as after a restore: back to the renderers, and the second time it is over.

    None: the lease was lost.
    """
    held = _lock(connection, lease)
    if held is None:
        return None
    before = sa.select(sa.literal(1)).where(attempts.c.video_id == held.video_id, attempts.c.outcome == UNDONE)
    if connection.scalar(before.limit(1)):
        return _give_up(connection, held, error_code, UNDONE)
    change = Move(
        held.tenant_id,
        held.video_id,
        State.PUBLISHING,
        State.QUEUED,
        held.fence,
        outcome=UNDONE,
        data={"reason": UNDONE},
    )
    move(connection, change)
    return State.QUEUED


def hand_back_all_for_any_tenant(connection: Connection, worker_ids: Sequence[str]) -> Sequence[Reaped]:
    """Give back whatever these workers hold, once they are dead. Nobody's fault: no crash is counted."""
    held = _leased().where(videos.c.worker.in_(worker_ids)).with_for_update()
    return [_taken(row, _again(connection, _of(row), "released", 0.0, {})) for row in _in_order(connection, held)]


def reap_for_any_tenant(connection: Connection, limit: int) -> Sequence[Reaped]:
    """Take away up to `limit` leases that ran out. Several reapers may run at once."""
    expired = _leased().where(videos.c.lease_until < NOW).order_by(videos.c.claimed_at).limit(limit)
    rows = _in_order(connection, expired.with_for_update(skip_locked=True))
    return [_taken(row, _reap(connection, _of(row))) for row in rows]


def _leased() -> sa.Select[Any, Any, Any, Any, Any, Any, Any, Any]:
    return sa.select(*_HELD_COLUMNS, videos.c.state, videos.c.worker, videos.c.queue).where(sa.text(LEASED))


def _in_order(
    connection: Connection, query: sa.Select[Any, Any, Any, Any, Any, Any, Any, Any]
) -> Sequence[sa.RowMapping]:
    """In one order for all who take leases away: each takes the tenants' shares in turn, and two must not meet."""
    return sorted(connection.execute(query).mappings(), key=lambda row: (row["queue"], row["tenant_id"]))


def _of(row: sa.RowMapping) -> _Held:
    return _held(row, STAGE_OF_RUNNING[State(row["state"])])


def _taken(row: sa.RowMapping, after: State) -> Reaped:
    return Reaped(row["tenant_id"], row["id"], row["worker"], row["queue"], after)


def _reap(connection: Connection, held: _Held) -> State:
    crashes = held.crashes + 1
    if crashes >= MAX_CRASHES:
        return _give_up(connection, held, "poison", CRASHED)
    return _again(connection, held, CRASHED, crash_delay(crashes), {"crashes": crashes})


def _give_up(connection: Connection, held: _Held, error_code: str, outcome: str, after: State = State.FAILED) -> State:
    ends = after is State.FAILED
    change = Move(
        held.tenant_id,
        held.video_id,
        RUNS[held.stage].running,
        after,
        held.fence,
        outcome=outcome,
        error_code=error_code if ends else None,
        error_message=VIDEO_ERRORS[error_code] if ends else None,
    )
    move(connection, change)
    return after


def _again(connection: Connection, held: _Held, outcome: str, delay: float, counts: dict[str, Any]) -> State:
    run = RUNS[held.stage]
    change = Move(
        held.tenant_id,
        held.video_id,
        run.running,
        run.waiting,
        held.fence,
        outcome=outcome,
        delay_seconds=delay,
        values=counts,
        data={"reason": outcome},
    )
    move(connection, change)
    return run.waiting


_HELD_COLUMNS = (videos.c.tenant_id, videos.c.id, videos.c.fence, videos.c.failures, videos.c.crashes)


def _lock(connection: Connection, lease: Lease) -> _Held | None:
    row = (
        connection.execute(sa.select(*_HELD_COLUMNS).where(*held_by(lease)).with_for_update()).mappings().one_or_none()
    )
    return None if row is None else _held(row, lease.stage)


def _held(row: sa.RowMapping, stage: Stage) -> _Held:
    return _Held(row["tenant_id"], row["id"], stage, row["fence"], row["failures"], row["crashes"])
