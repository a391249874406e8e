"""Rows of `batches` as their owners read, make and cancel them. What works on them is in `storage.batch_runs`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.batches import CANCELLABLE, WINDOW, WINDOW_SECONDS, Status
from domain.ids import new_id
from storage.tables import NOW, OPEN_BATCH, TICK, batch_lines, batches

FORGOTTEN = 100  # batches at once, however few their lines


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as it is stored. `errors` are those of the input file, as OpenAI lists them."""

    id: UUID
    tenant_id: UUID
    key_id: UUID | None
    input_file_id: UUID
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None
    output_expires_seconds: int | None
    status: Status
    errors: list[dict[str, Any]] | None
    total: int
    completed: int
    failed: int
    output_file_id: UUID | None
    error_file_id: UUID | None
    created_at: datetime
    expires_at: datetime
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    cancelling_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    expired_at: datetime | None
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a create stores."""

    key_id: UUID | None
    input_file_id: UUID
    endpoint: str
    metadata: dict[str, str] | None
    output_expires_seconds: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a tenant's batches, newest first."""

    batches: tuple[Batch, ...]
    has_more: bool


COLUMNS = tuple(batches.c[field.name] for field in fields(Batch))


def create(connection: Connection, tenant_id: UUID, new: NewBatch) -> Batch:
    """A batch whose file is still to be read; its window begins now."""
    row = {
        "id": new_id(),
        "tenant_id": tenant_id,
        "key_id": new.key_id,
        "input_file_id": new.input_file_id,
        "endpoint": new.endpoint,
        "completion_window": WINDOW,
        "metadata": new.metadata,
        "output_expires_seconds": new.output_expires_seconds,
        "status": Status.VALIDATING,
        "expires_at": NOW + timedelta(seconds=WINDOW_SECONDS),
    }
    created = connection.execute(sa.insert(batches).values(row).returning(*COLUMNS))
    return batch(created.mappings().one())


def open_after_lock(connection: Connection, tenant_id: UUID) -> int:
    """How many of the tenant's batches are not over; until commit nobody else may add one."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"batches {tenant_id}", 0))))
    query = sa.select(sa.func.count()).where(batches.c.tenant_id == tenant_id, sa.text(OPEN_BATCH))
    return connection.scalar(query) or 0


def find(connection: Connection, tenant_id: UUID, batch_id: UUID) -> Batch | None:
    """The tenant's batch."""
    query = sa.select(*COLUMNS).where(batches.c.tenant_id == tenant_id, batches.c.id == batch_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else batch(row)


def page(connection: Connection, tenant_id: UUID, *, after: UUID | None, limit: int) -> Page:
    """Up to `limit` batches older than `after`, newest first."""
    query = sa.select(*COLUMNS).where(batches.c.tenant_id == tenant_id)
    if after is not None:
        query = query.where(batches.c.id < after)
    rows = connection.execute(query.order_by(batches.c.id.desc()).limit(limit + 1)).mappings()
    found = tuple(batch(row) for row in rows)
    return Page(found[:limit], len(found) > limit)


def cancel(connection: Connection, tenant_id: UUID, batch_id: UUID) -> bool:
    """Ask for the end of a batch; its runner brings it about. False if there is nothing left to cancel."""
    asked = connection.execute(
        sa.update(batches)
        .where(batches.c.tenant_id == tenant_id, batches.c.id == batch_id, batches.c.status.in_(CANCELLABLE))
        .values(
            status=Status.CANCELLING,
            cancelling_at=NOW,
            run_at=sa.case((batches.c.runner.is_(None), NOW), else_=batches.c.run_at),
        )
    )
    return asked.rowcount == 1


def forget_for_any_tenant(connection: Connection, lines: int) -> bool:
    """Drop up to so many lines of batches whose time is over, then those batches that have none left.

    Whether there may be more.
    """
    over = sa.select(batches.c.id).where(batches.c.forget_at < TICK).order_by(batches.c.forget_at)
    found = connection.scalars(over.limit(FORGOTTEN).with_for_update(skip_locked=True)).all()
    if not found:
        return False
    place = sa.tuple_(batch_lines.c.batch_id, batch_lines.c.line)
    some = sa.select(batch_lines.c.batch_id, batch_lines.c.line).where(batch_lines.c.batch_id.in_(found)).limit(lines)
    dropped = connection.execute(sa.delete(batch_lines).where(place.in_(some))).rowcount
    left = sa.exists().where(batch_lines.c.batch_id == batches.c.id)
    connection.execute(sa.delete(batches).where(batches.c.id.in_(found), ~left))
    return dropped == lines or len(found) == FORGOTTEN


def batch(row: RowMapping) -> Batch:
    """The row's batch; other columns of a join are left aside."""
    values: dict[str, Any] = {column.name: row[column] for column in COLUMNS}
    values["status"] = Status(values["status"])
    return Batch(**values)
