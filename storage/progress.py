"""What progress streams follow: the events of many videos at once, and how far each of them is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from domain.keys import Scope
from domain.lifecycle import Stage, State
from storage import issued
from storage.tables import CLAIMABLE, NOW, api_keys, events, tenants, videos


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a video's history; `type` is the state that it came to."""

    seq: int
    type: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """Where a video is: the events since the one that was known, and what changes between events."""

    video_id: UUID
    events: tuple[Event, ...]
    progress: int
    gone: bool  # deleted, or its retention is over


@dataclass(frozen=True, slots=True)
class Rank:
    """A waiting video's place among its tenant's own, in the pool that it goes to."""

    video_id: UUID
    tenant_id: UUID
    pool: str
    own: int


def last_event(connection: Connection, tenant_id: UUID, video_id: UUID) -> int:
    """The sequence of the video's newest event; 0 if there is no such video."""
    query = sa.select(videos.c.event_seq).where(videos.c.tenant_id == tenant_id, videos.c.id == video_id)
    return connection.scalar(query) or 0


def follow_for_any_tenant(connection: Connection, known: Mapping[UUID, int]) -> Sequence[Position]:
    """Every video named in `known`, with its events after that sequence. One statement, so one moment."""
    asked = (
        sa.func.unnest(sa.literal(list(known), ARRAY(sa.Uuid)), sa.literal(list(known.values()), ARRAY(sa.BigInteger)))
        .table_valued(sa.column("id", sa.Uuid), sa.column("seq", sa.BigInteger))
        .render_derived("asked")
    )
    line = sa.func.jsonb_build_array(events.c.seq, events.c.type, events.c.at)
    fresh = (
        sa.select(sa.func.jsonb_agg(aggregate_order_by(line, events.c.seq)))
        .where(events.c.video_id == asked.c.id, events.c.seq > asked.c.seq)
        .scalar_subquery()
        .correlate(asked)
    )
    changed = sa.case((videos.c.event_seq > asked.c.seq, fresh))
    gone = sa.or_(videos.c.deleted_at.is_not(None), sa.func.coalesce(videos.c.expires_at < NOW, False))
    query = sa.select(videos.c.id, changed.label("events"), videos.c.progress, gone.label("gone"))
    rows = connection.execute(query.join_from(asked, videos, videos.c.id == asked.c.id))
    return [Position(row.id, tuple(map(_event, row.events or ())), row.progress, row.gone) for row in rows]


def ranks_for_any_tenant(connection: Connection, video_ids: Sequence[UUID], limit: int) -> Sequence[Rank]:
    """How many of their tenant's own videos a renderer takes before those of the videos that still wait.

    Every queue of a tenant is walked once, up to `limit`, along the index of claimable videos.
    """
    asked = (
        sa.func.unnest(sa.literal(list(video_ids), ARRAY(sa.Uuid)))
        .table_valued(sa.column("id", sa.Uuid))
        .render_derived("asked")
    )
    waiting = (
        sa.select(videos.c.id, videos.c.tenant_id, videos.c.pool)
        .join_from(asked, videos, videos.c.id == asked.c.id)
        .where(videos.c.state.in_([State.RECEIVED, State.QUEUED]))
        .cte("waiting")
    )
    lines = sa.select(waiting.c.tenant_id, waiting.c.pool).distinct().subquery("lines")
    both = sa.union_all(*(_front(lines, queue, limit) for queue in (lines.c.pool, sa.literal(Stage.SCREEN.value))))
    front = both.lateral("front")
    place = sa.func.row_number().over(
        partition_by=[lines.c.tenant_id, lines.c.pool], order_by=[front.c.priority.desc(), front.c.id]
    )
    ranked = sa.select(front.c.id, place.label("place")).select_from(lines.join(front, sa.true())).subquery("ranked")
    own = sa.func.coalesce(sa.func.least(ranked.c.place - 1, limit), limit)
    query = sa.select(waiting.c.id, waiting.c.tenant_id, waiting.c.pool, own.label("own"))
    rows = connection.execute(query.outerjoin_from(waiting, ranked, ranked.c.id == waiting.c.id))
    return [Rank(*row) for row in rows]


def _front(lines: sa.Subquery, queue: sa.ColumnElement[str], limit: int) -> sa.Select[Any]:
    """The tenant's own videos at the head of a queue, on their way to the pool."""
    other = videos.alias("other")
    head = (
        sa.select(other.c.id, other.c.priority)
        .where(
            other.c.queue == queue,
            other.c.tenant_id == lines.c.tenant_id,
            sa.text(CLAIMABLE.replace("state", "other.state")),
            other.c.pool == lines.c.pool,
        )
        .order_by(other.c.priority.desc(), other.c.id)
        .limit(limit)
        .correlate(lines)
    )
    return sa.select(head.subquery())


def living_keys_for_any_tenant(connection: Connection, key_ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the keys that still open the door, and may still read videos."""
    reaches = sa.or_(sa.func.cardinality(api_keys.c.scopes) == 0, sa.any_(api_keys.c.scopes) == Scope.VIDEOS_READ)
    query = (
        sa.select(api_keys.c.id)
        .join(tenants, tenants.c.id == api_keys.c.tenant_id)
        .where(api_keys.c.id.in_(key_ids), *issued.alive(api_keys), tenants.c.disabled_at.is_(None), reaches)
    )
    return frozenset(connection.scalars(query))


def _event(line: list[Any]) -> Event:
    return Event(line[0], line[1], datetime.fromisoformat(line[2]))
