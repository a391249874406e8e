"""Work on batches: one runner at a time for each, under a lease; every write names its fence.

A claim moves `run_at` to the end of the lease, so one index answers both what is due and what was abandoned. The
row of the batch is locked before those of its lines and videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.batches import MOST_OUTPUT_SECONDS, OPEN, Fault, Line, LineState, Status
from domain.ids import new_id
from storage import batches as batches_of
from storage.batches import Batch
from storage.tables import NOW, OPEN_BATCH, batch_lines, batches


@dataclass(frozen=True, slots=True)
class BatchLease:
    """The right to work on one batch until it is renewed no more."""

    tenant_id: UUID
    batch_id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What a claim gives: the batch as it stands, and whether its window is over by the database's clock.

    `failures` of turns came unexpectedly, one after the other, before this one. `lapsed`: the last of them was never
    released, as when its process died.
    """

    lease: BatchLease
    batch: Batch
    over: bool
    failures: int
    lapsed: bool = False


def claim_for_any_tenant(connection: Connection, runner: str, lease_seconds: float) -> Turn | None:
    """Take the batch that has waited the longest, of the tenant whose last turn is the oldest; None if none is due.

    A turn before it that was never released is counted as failed.
    """
    others = batches.alias("others")
    last = (
        sa.select(sa.func.max(others.c.turn_at))
        .where(others.c.tenant_id == batches.c.tenant_id, others.c.turn_at.is_not(None))
        .scalar_subquery()
    )
    due = (
        sa.select(batches.c.id, batches.c.runner.is_not(None).label("lapsed"))
        .where(sa.text(OPEN_BATCH), batches.c.run_at <= sa.func.statement_timestamp())
        .order_by(last.nulls_first(), batches.c.run_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte()
    )
    taken = (
        sa.update(batches)
        .where(batches.c.id == due.c.id)
        .values(
            fence=batches.c.fence + 1,
            runner=runner,
            turn_at=NOW,
            run_at=NOW + timedelta(seconds=lease_seconds),
            failures=batches.c.failures + sa.cast(due.c.lapsed, sa.Integer),
        )
        .returning(
            *batches_of.COLUMNS,
            batches.c.fence,
            batches.c.failures,
            (batches.c.expires_at < NOW).label("over"),
            due.c.lapsed,
        )
    )
    row = connection.execute(taken).mappings().one_or_none()
    if row is None:
        return None
    batch = batches_of.batch(row)
    lease = BatchLease(batch.tenant_id, batch.id, row["fence"])
    return Turn(lease, batch, row["over"], row["failures"], row["lapsed"])


def keep(connection: Connection, lease: BatchLease, lease_seconds: float, *statuses: Status) -> bool:
    """Prolong the lease and lock the batch. False: lost, or no longer in one of the statuses that are named."""
    kept = sa.update(batches).where(*_held(lease, statuses)).values(run_at=NOW + timedelta(seconds=lease_seconds))
    return connection.execute(kept).rowcount == 1


def release(connection: Connection, lease: BatchLease, delay_seconds: float, failures: int = 0) -> None:
    """Let go of the batch, to be looked at again after the delay."""
    free = {"runner": None, "run_at": NOW + timedelta(seconds=delay_seconds), "failures": failures}
    connection.execute(sa.update(batches).where(*_held(lease)).values(free))


def move(connection: Connection, lease: BatchLease, before: Status, after: Status, **values: Any) -> bool:
    """Change the status and note when; an end frees the batch, which goes with its files. False: lost, or cancelled."""
    if after not in OPEN:
        values["runner"] = None
        seconds = sa.func.coalesce(batches.c.output_expires_seconds, MOST_OUTPUT_SECONDS)
        values["forget_at"] = NOW + seconds * sa.literal(timedelta(seconds=1), sa.Interval)
    changed = sa.update(batches).where(*_held(lease, (before,))).values({"status": after, f"{after}_at": NOW, **values})
    return connection.execute(changed).rowcount == 1


def refuse(
    connection: Connection, lease: BatchLease, faults: Sequence[Fault], before: Status = Status.VALIDATING
) -> bool:
    """The input file cannot be worked off, or the batch in that status not go on: it has failed."""
    return move(connection, lease, before, Status.FAILED, errors=listed(faults))


def listed(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """What `errors` holds of them."""
    errors = [asdict(fault) for fault in faults]
    return [{"line": error.pop("line"), **error} for error in errors]


def accept(connection: Connection, lease: BatchLease, lines: Sequence[Line]) -> bool:
    """Store every line and begin. False, and nothing is stored, if the batch is no longer to be begun."""
    if not move(connection, lease, Status.VALIDATING, Status.IN_PROGRESS, total=len(lines)):
        return False
    of_batch = {"tenant_id": lease.tenant_id, "batch_id": lease.batch_id, "state": LineState.WAITING}
    rows = [
        {**of_batch, "line": line.number, "custom_id": line.custom_id, "request_id": new_id(), "body": line.body}
        for line in lines
    ]
    connection.execute(sa.insert(batch_lines), rows)
    return True


def expire(connection: Connection, lease: BatchLease) -> bool:
    """The window is over: no more lines are created."""
    return move(connection, lease, Status.IN_PROGRESS, Status.FINALIZING, expired_at=NOW)


def _held(lease: BatchLease, statuses: Sequence[Status] = ()) -> tuple[sa.ColumnElement[bool] | sa.TextClause, ...]:
    mine = (
        batches.c.tenant_id == lease.tenant_id,
        batches.c.id == lease.batch_id,
        batches.c.fence == lease.fence,
        sa.text(OPEN_BATCH),
    )
    return (*mine, batches.c.status.in_(statuses)) if statuses else mine
