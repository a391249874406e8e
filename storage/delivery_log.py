"""The log of deliveries: what was sent where, how each attempt went, and sending it again under the same id.

A scope is one endpoint, or None for all that requests named by `webhook_url`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.errors import Conflict
from domain.ids import new_id
from domain.webhooks import LOG_DAYS, REPLAY_LIMIT, REPLAY_RATE, EventType
from storage.tables import NOW, webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_messages

State = Literal["pending", "delivered", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One message on its way to one endpoint. `next_at` is None once the delivery has ended."""

    message_id: UUID
    endpoint_id: UUID
    type: EventType
    event: dict[str, Any]
    state: State
    url: str
    attempts: int
    created_at: datetime
    next_at: datetime | None
    ended_at: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One attempt; `timings` are milliseconds of the phases that it reached."""

    at: datetime
    attempt: int
    duration_ms: int
    timings: dict[str, int] | None
    status: int | None
    error: str | None
    response: str | None


@dataclass(frozen=True, slots=True)
class LogPage:
    """A slice of a log, newest first."""

    entries: tuple[Entry, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Span:
    """Which messages a replay sends again: created in [since, until), in these states, of these types (empty: all)."""

    since: datetime
    until: datetime
    states: Collection[State]
    types: Collection[EventType] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many messages a replay sends again, and whether it left some out because they were too many."""

    scheduled: int
    has_more: bool


def page(
    connection: Connection,
    tenant_id: UUID,
    scope: UUID | None,
    *,
    state: State | None = None,
    event_type: EventType | None = None,
    after: UUID | None = None,
    limit: int = 20,
) -> LogPage:
    """Up to `limit` entries older than message `after`, newest first."""
    query = _ENTRIES.where(webhook_deliveries.c.tenant_id == tenant_id, _in(tenant_id, scope))
    if state is not None:
        query = query.where(webhook_deliveries.c.state == state)
    if event_type is not None:
        query = query.where(webhook_messages.c.type == event_type)
    if after is not None:
        query = query.where(webhook_deliveries.c.message_id < after)
    ordered = query.order_by(webhook_deliveries.c.message_id.desc()).limit(limit + 1)
    found = tuple(_entry(row) for row in connection.execute(ordered).mappings())
    return LogPage(found[:limit], len(found) > limit)


def find(connection: Connection, tenant_id: UUID, scope: UUID | None, message_id: UUID) -> Entry | None:
    """One entry; None if the message never went there."""
    query = _ENTRIES.where(*_one(tenant_id, scope, message_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _entry(row)


def attempts_of(connection: Connection, tenant_id: UUID, entry: Entry) -> Sequence[LoggedAttempt]:
    """Its attempts in their order, those of earlier sendings included."""
    rows = connection.execute(
        sa.select(
            webhook_attempts.c.at,
            webhook_attempts.c.attempt,
            webhook_attempts.c.duration_ms,
            webhook_attempts.c.timings,
            webhook_attempts.c.status,
            webhook_attempts.c.error,
            webhook_attempts.c.response,
        )
        .where(
            webhook_attempts.c.tenant_id == tenant_id,
            webhook_attempts.c.message_id == entry.message_id,
            webhook_attempts.c.endpoint_id == entry.endpoint_id,
        )
        .order_by(webhook_attempts.c.fence)
    )
    return [LoggedAttempt(**row) for row in rows.mappings()]


def resend(connection: Connection, tenant_id: UUID, scope: UUID | None, message_id: UUID) -> bool:
    """Send it again now, with a fresh count of attempts. False if there is no such delivery.

    One that is being sent at this moment is left alone. Raises Conflict if its URL is erased.
    """
    _lock_endpoint(connection, tenant_id, scope)
    mine = _one(tenant_id, scope, message_id)
    if connection.scalar(sa.select(sa.literal(1)).where(*mine, sa.not_(_has_url(scope)))) is not None:
        raise Conflict(
            "The URL of this delivery was erased with its video, so it cannot be sent again.", code="webhook_url_erased"
        )
    connection.execute(sa.update(webhook_deliveries).where(*mine, _IDLE).values(**_AGAIN, ready=True, next_at=NOW))
    return connection.scalar(sa.select(sa.literal(1)).where(*mine)) is not None


def replay(connection: Connection, tenant_id: UUID, scope: UUID | None, span: Span) -> Replayed:
    """Send a span of messages again, REPLAY_RATE a second, oldest first, at most REPLAY_LIMIT of them.

    Those whose URL is erased are left out.
    """
    _lock_endpoint(connection, tenant_id, scope)
    mine = _within(tenant_id, scope, span)
    beyond = connection.execute(mine.offset(REPLAY_LIMIT).limit(1)).one_or_none()
    chosen = mine.limit(REPLAY_LIMIT).subquery()
    seconds = (chosen.c.number - 1) / REPLAY_RATE
    scheduled = connection.execute(
        sa.update(webhook_deliveries)
        .where(
            webhook_deliveries.c.message_id == chosen.c.message_id,
            webhook_deliveries.c.endpoint_id == chosen.c.endpoint_id,
            _IDLE,
        )
        .values(**_AGAIN, ready=False, next_at=NOW + seconds * sa.literal(timedelta(seconds=1), sa.Interval))
    )
    return Replayed(scheduled.rowcount, beyond is not None)


def forget_for_any_tenant(connection: Connection, limit: int) -> int:
    """Drop up to `limit` messages that are older than LOG_DAYS, with what hangs on them. Returns how many."""
    old = connection.scalars(
        sa.select(webhook_messages.c.id)
        .where(webhook_messages.c.id < _first_id(datetime.now(UTC) - timedelta(days=LOG_DAYS)))
        .order_by(webhook_messages.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if old:
        connection.execute(sa.delete(webhook_attempts).where(webhook_attempts.c.message_id.in_(old)))
        connection.execute(sa.delete(webhook_deliveries).where(webhook_deliveries.c.message_id.in_(old)))
        connection.execute(sa.delete(webhook_messages).where(webhook_messages.c.id.in_(old)))
    return len(old)


def _within(tenant_id: UUID, scope: UUID | None, span: Span) -> sa.Select[Any, Any, Any]:
    oldest_first = sa.func.row_number().over(order_by=webhook_deliveries.c.message_id)
    query = (
        sa.select(webhook_deliveries.c.message_id, webhook_deliveries.c.endpoint_id, oldest_first.label("number"))
        .join(webhook_messages, webhook_messages.c.id == webhook_deliveries.c.message_id)
        .where(
            webhook_deliveries.c.tenant_id == tenant_id,
            _in(tenant_id, scope),
            _has_url(scope),
            webhook_deliveries.c.message_id >= _first_id(span.since),
            webhook_deliveries.c.message_id < _first_id(span.until),
            webhook_deliveries.c.state.in_(span.states),
        )
        .order_by(webhook_deliveries.c.message_id)
    )
    return query.where(webhook_messages.c.type.in_(span.types)) if span.types else query


def _first_id(at: datetime) -> UUID:
    """Ids made before that moment compare less."""
    return UUID(int=new_id(int(at.timestamp()) * 1_000_000_000).int >> 80 << 80)


def _in(tenant_id: UUID, scope: UUID | None) -> sa.ColumnElement[bool]:
    if scope is not None:
        return webhook_deliveries.c.endpoint_id == scope
    of_requests = sa.select(webhook_endpoints.c.id).where(
        webhook_endpoints.c.tenant_id == tenant_id, webhook_endpoints.c.kind == "request"
    )
    return webhook_deliveries.c.endpoint_id.in_(of_requests)


def _one(tenant_id: UUID, scope: UUID | None, message_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        webhook_deliveries.c.tenant_id == tenant_id,
        webhook_deliveries.c.message_id == message_id,
        _in(tenant_id, scope),
    )


def _has_url(scope: UUID | None) -> sa.ColumnElement[bool]:
    """An endpoint has its own; that of a request is erased with its video."""
    return sa.true() if scope is not None else webhook_deliveries.c.url.is_not(None)


def _lock_endpoint(connection: Connection, tenant_id: UUID, scope: UUID | None) -> None:
    """Endpoint before delivery, as everybody locks them; those of requests are never disabled or deleted."""
    if scope is not None:
        mine = (webhook_endpoints.c.tenant_id == tenant_id, webhook_endpoints.c.id == scope)
        connection.execute(sa.select(webhook_endpoints.c.id).where(*mine).with_for_update(key_share=True))


def _entry(row: RowMapping) -> Entry:
    pending = row["state"] == "pending"
    next_at: datetime | None = max(filter(None, (row["next_at"], row["open_until"]))) if pending else None
    own = {name: row[name] for name in row if name not in {"body", "open_until", "next_at", "type"}}
    return Entry(**own, type=EventType(row["type"]), event=json.loads(row["body"]), next_at=next_at)


_IDLE = sa.or_(webhook_deliveries.c.lease_until.is_(None), webhook_deliveries.c.lease_until <= NOW)
# A higher fence, so that a worker whose lease ran out cannot end the new sending.
_AGAIN: dict[str, Any] = {
    "state": "pending",
    "attempts": 0,
    "fence": webhook_deliveries.c.fence + 1,
    "ended_at": None,
    "lease_until": None,
}

LAST = (  # attempt of a delivery, of whichever sending
    sa.select(webhook_attempts.c.status.label("last_status"), webhook_attempts.c.error.label("last_error"))
    .where(
        webhook_attempts.c.message_id == webhook_deliveries.c.message_id,
        webhook_attempts.c.endpoint_id == webhook_deliveries.c.endpoint_id,
    )
    .order_by(webhook_attempts.c.fence.desc())
    .limit(1)
    .lateral("last")
)
_ENTRIES = (
    sa.select(
        webhook_deliveries.c.message_id,
        webhook_deliveries.c.endpoint_id,
        webhook_messages.c.type,
        webhook_messages.c.body,
        webhook_deliveries.c.state,
        sa.func.coalesce(webhook_deliveries.c.url, webhook_endpoints.c.url).label("url"),
        webhook_deliveries.c.attempts,
        webhook_messages.c.created_at,
        webhook_deliveries.c.next_at,
        webhook_deliveries.c.ended_at,
        webhook_endpoints.c.open_until,
        LAST.c.last_status,
        LAST.c.last_error,
    )
    .join(webhook_messages, webhook_messages.c.id == webhook_deliveries.c.message_id)
    .join(webhook_endpoints, webhook_endpoints.c.id == webhook_deliveries.c.endpoint_id)
    .outerjoin(LAST, sa.true())
)
