"""Rows of `videos`, read and first written. Every later change of state goes through `storage.lifecycle`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.ledger import Account, Amounts
from domain.lifecycle import Stage, State
from domain.video import ERASED, KEPT, Operation, Plan, Request
from storage import ledger
from storage.tables import CLAIMABLE, NOW, attempts, events, videos


@dataclass(frozen=True, slots=True)
class Video:
    """One video as it is stored."""

    id: UUID
    tenant_id: UUID
    model: str
    state: State
    queue: str
    pool: str
    priority: int
    fence: int
    request: Request
    plan: Plan
    price_micros: int
    estimate_ms: int
    gpu_ms: int
    progress: int
    stage_progress: dict[str, Any] | None
    created_at: datetime
    claimed_at: datetime | None
    completed_at: datetime | None
    expires_at: datetime | None
    error_code: str | None
    error_message: str | None
    operation: Operation
    source_id: UUID | None


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One step back: how `id` came to be, and what became of it."""

    id: UUID
    model: str
    operation: Operation
    source_id: UUID | None
    created_at: datetime
    deleted: bool


@dataclass(frozen=True, slots=True)
class NewVideo:
    """What a create stores; `queue` is where its models' renderers look."""

    id: UUID
    key_id: UUID | None
    request: Request
    plan: Plan
    pool: str
    price_micros: int
    estimate_ms: int
    queue_seconds: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Rendering:
    """The attempt whose drafts count: its fence, its end, and the weights that drew them."""

    fence: int
    ended_at: datetime
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list, newest or oldest first."""

    videos: tuple[Video, ...]
    has_more: bool


_COLUMNS = (
    videos.c.id,
    videos.c.tenant_id,
    videos.c.model,
    videos.c.state,
    videos.c.queue,
    videos.c.pool,
    videos.c.priority,
    videos.c.fence,
    videos.c.request,
    videos.c.plan,
    videos.c.price_micros,
    videos.c.estimate_ms,
    videos.c.gpu_ms,
    videos.c.progress,
    videos.c.stage_progress,
    videos.c.created_at,
    videos.c.claimed_at,
    videos.c.completed_at,
    videos.c.expires_at,
    videos.c.error_code,
    videos.c.error_message,
    videos.c.operation,
    videos.c.source_id,
)
MOST_ANCESTORS = 100


def create(connection: Connection, tenant_id: UUID, new: NewVideo) -> Video:
    """Video and first event in one round trip, then the hold, in the caller's transaction. Raises QuotaExceeded."""
    row = {
        "id": new.id,
        "tenant_id": tenant_id,
        "key_id": new.key_id,
        "model": new.request.model,
        "pool": new.pool,
        "priority": new.priority,
        "request": new.request.to_json(),
        "plan": new.plan.to_json(),
        "price_micros": new.price_micros,
        "estimate_ms": new.estimate_ms,
        "operation": new.request.operation,
        "source_id": new.request.source,
        "queue_time": timedelta(seconds=new.queue_seconds),
    }
    stored = connection.execute(_CREATE, {f"new_{name}": value for name, value in row.items()}).mappings().one()
    held = Amounts(new.price_micros, new.plan.seconds * 1000, new.estimate_ms)
    ledger.hold(connection, tenant_id, new.id, held, Account(new.key_id, new.plan.model, new.request.metadata))
    return _video(stored)


def _creation() -> sa.Insert:
    """Built once: what it takes to build it is a good part of a create."""
    given = {column.name: sa.bindparam(f"new_{column.name}", type_=column.type) for column in videos.c}
    event = sa.insert(events).values(
        tenant_id=given["tenant_id"], video_id=given["id"], seq=1, type=State.RECEIVED, data={}
    )
    said = ("id", "tenant_id", "key_id", "model", "pool", "priority", "request", "plan", "price_micros", "estimate_ms")
    row = {name: given[name] for name in (*said, "operation", "source_id")} | {
        "state": State.RECEIVED,
        "queue": "screen",
        "event_seq": 1,
        "queue_deadline": NOW + sa.bindparam("new_queue_time", type_=sa.Interval),
    }
    return sa.insert(videos).values(row).add_cte(event.cte("first_event"))


_CREATE = _creation().returning(*_COLUMNS)


def find(connection: Connection, tenant_id: UUID, video_id: UUID, *, lock: bool = False) -> Video | None:
    """The tenant's video, unless it is deleted or expired. `lock` keeps others from changing it until commit."""
    query = sa.select(*_COLUMNS).where(*_visible(tenant_id), videos.c.id == video_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else _video(row)


def several(connection: Connection, tenant_id: UUID, video_ids: Sequence[UUID]) -> Mapping[UUID, Video]:
    """Those of the tenant's videos that are there, by their ids."""
    query = sa.select(*_COLUMNS).where(*_visible(tenant_id), videos.c.id.in_(video_ids))
    return {row["id"]: _video(row) for row in connection.execute(query).mappings()}


def page(
    connection: Connection, tenant_id: UUID, *, after: UUID | None, limit: int, order: Literal["asc", "desc"]
) -> Page:
    """Up to `limit` videos that follow `after` in the order of their ids, which is that of their creation."""
    query = sa.select(*_COLUMNS).where(*_visible(tenant_id))
    if after is not None:
        query = query.where(videos.c.id < after if order == "desc" else videos.c.id > after)
    ordered = query.order_by(videos.c.id.desc() if order == "desc" else videos.c.id).limit(limit + 1)
    found = tuple(_video(row) for row in connection.execute(ordered).mappings())
    return Page(found[:limit], len(found) > limit)


def ahead(connection: Connection, tenant_id: UUID, video: Video, limit: int) -> int:
    """The tenant's own videos that a renderer takes before this one, counted up to `limit`."""
    first = sa.or_(
        videos.c.priority > video.priority, sa.and_(videos.c.priority == video.priority, videos.c.id < video.id)
    )
    some = (
        sa.select(sa.literal(1))
        .where(
            videos.c.queue.in_([video.pool, Stage.SCREEN.value]),
            videos.c.tenant_id == tenant_id,
            sa.text(CLAIMABLE),  # so that the partial index applies
            videos.c.pool == video.pool,
            first,
        )
        .limit(limit)
        .subquery()
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def ancestry(connection: Connection, tenant_id: UUID, video_id: UUID) -> tuple[Ancestor, ...]:
    """The video itself, what it was made from, and so on back, at most MOST_ANCESTORS; deleted ones too."""
    shown = (videos.c.id, videos.c.model, videos.c.operation, videos.c.source_id, videos.c.created_at)
    deleted = videos.c.deleted_at.is_not(None).label("deleted")
    line = (
        sa.select(*shown, deleted, sa.literal(1).label("distance"))
        .where(videos.c.tenant_id == tenant_id, videos.c.id == video_id)
        .cte("line", recursive=True)
    )
    line = line.union_all(
        sa.select(*shown, deleted, line.c.distance + 1).where(
            videos.c.tenant_id == tenant_id, videos.c.id == line.c.source_id, line.c.distance < MOST_ANCESTORS
        )
    )
    names = [column.name for column in (*shown, deleted)]
    rows = connection.execute(sa.select(*(line.c[name] for name in names)).order_by(line.c.distance)).mappings()
    return tuple(_ancestor(row) for row in rows)


def mark_deleted(connection: Connection, tenant_id: UUID, video_id: UUID) -> bool:
    """The part of `storage.forgetting` that is about the row. False if the video was hidden already."""
    done = connection.execute(
        sa.update(videos)
        .where(videos.c.tenant_id == tenant_id, videos.c.id == video_id, videos.c.deleted_at.is_(None))
        .values(deleted_at=NOW, request=_kept(videos.c.request), plan=_kept(videos.c.plan))
    )
    return done.rowcount == 1


def _kept(document: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """What may stay of a document of a forgotten video."""
    entry = sa.func.jsonb_each(document).table_valued("key", "value", name="entry")
    some = sa.func.jsonb_object_agg(entry.c.key, entry.c.value, type_=document.type)
    kept = sa.select(some).select_from(entry).where(entry.c.key.in_(sorted(KEPT))).scalar_subquery()
    return kept.op("||")(sa.type_coerce(ERASED, document.type))


def history(connection: Connection, tenant_id: UUID, video_id: UUID) -> Sequence[RowMapping]:
    """Events of one video in their order: seq, type, data, at."""
    return (
        connection.execute(
            sa.select(events.c.seq, events.c.type, events.c.data, events.c.at)
            .where(events.c.tenant_id == tenant_id, events.c.video_id == video_id)
            .order_by(events.c.seq)
        )
        .mappings()
        .all()
    )


def rendering(connection: Connection, tenant_id: UUID, video_id: UUID) -> Rendering | None:
    """The last finished rendering; None before there is one."""
    checkpoint = sa.func.coalesce(attempts.c.timings["checkpoint"].astext, "").label("checkpoint")
    query = sa.select(attempts.c.fence, attempts.c.ended_at, checkpoint).where(
        attempts.c.tenant_id == tenant_id,
        attempts.c.video_id == video_id,
        attempts.c.stage == Stage.RENDER,
        attempts.c.outcome == "done",
    )
    row = connection.execute(query.order_by(attempts.c.fence.desc()).limit(1)).one_or_none()
    return None if row is None else Rendering(row.fence, row.ended_at, row.checkpoint)


def runs(connection: Connection, tenant_id: UUID, video_id: UUID) -> Sequence[RowMapping]:
    """Attempts of one video by fence: stage, worker, times, outcome."""
    return (
        connection.execute(
            sa.select(attempts)
            .where(attempts.c.tenant_id == tenant_id, attempts.c.video_id == video_id)
            .order_by(attempts.c.fence)
        )
        .mappings()
        .all()
    )


def _visible(tenant_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    """By the clock, whether or not somebody came to sweep."""
    lasting = sa.or_(videos.c.expires_at.is_(None), videos.c.expires_at > NOW)
    return videos.c.tenant_id == tenant_id, videos.c.deleted_at.is_(None), lasting


def _video(row: RowMapping) -> Video:
    typed: dict[str, Any] = {
        "state": State(row["state"]),
        "request": Request.from_json(row["request"]),
        "plan": Plan.from_json(row["plan"]),
        "operation": Operation(row["operation"]),
    }
    return Video(**{**row, **typed})


def _ancestor(row: RowMapping) -> Ancestor:
    typed: dict[str, Any] = {"operation": Operation(row["operation"])}
    return Ancestor(**{**row, **typed})
