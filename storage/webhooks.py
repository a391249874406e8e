"""Endpoints of webhooks and their secrets, and the one message that the end of a video sends to them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.ids import new_id
from domain.lifecycle import State
from domain.webhooks import SECRET_PREFIX, EventType, event_for, new_secret, payload
from storage.secrets import seal
from storage.tables import NOW, webhook_deliveries, webhook_endpoints, webhook_messages, webhook_secrets

# The time of the statement, not of the clock: only a stable time can be looked up in the index on next_at.
DUE = "state = 'pending' AND next_at <= statement_timestamp()"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tenant wants its events sent. `disabled_at` is set when the receiver answered 410."""

    id: UUID
    name: str
    url: str
    event_types: tuple[EventType, ...]
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    secret_hint: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update sets; None leaves it as it is."""

    name: str | None = None
    url: str | None = None
    event_types: Sequence[EventType] | None = None


@dataclass(frozen=True, slots=True)
class EndpointPage:
    """A slice of a tenant's endpoints, newest first."""

    endpoints: tuple[Endpoint, ...]
    has_more: bool


_hint = (
    sa.select(webhook_secrets.c.hint)
    .where(webhook_secrets.c.endpoint_id == webhook_endpoints.c.id, webhook_secrets.c.expires_at.is_(None))
    .scalar_subquery()
    .label("secret_hint")
)
_COLUMNS = (
    webhook_endpoints.c.id,
    webhook_endpoints.c.name,
    webhook_endpoints.c.url,
    webhook_endpoints.c.event_types,
    webhook_endpoints.c.created_at,
    webhook_endpoints.c.updated_at,
    webhook_endpoints.c.disabled_at,
    _hint,
)


def create(
    connection: Connection,
    tenant_id: UUID,
    *,
    name: str,
    url: str,
    event_types: Sequence[EventType],
    keys: Mapping[str, bytes],
) -> tuple[Endpoint, str]:
    """A new endpoint and its signing secret, which is readable only here; the first of `keys` encrypts it."""
    endpoint_id, now = new_id(), sa.func.statement_timestamp()
    connection.execute(
        sa.insert(webhook_endpoints).values(
            id=endpoint_id,
            tenant_id=tenant_id,
            name=name,
            url=url,
            event_types=list(event_types),
            created_at=now,
            updated_at=now,
        )
    )
    secret = _add_secret(connection, tenant_id, endpoint_id, keys)
    return _read(connection, tenant_id, endpoint_id), secret


def rotate_secret(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, keys: Mapping[str, bytes], overlap: timedelta
) -> tuple[Endpoint, str] | None:
    """A new signing secret; None if there is no such endpoint.

    The previous one signs beside it for `overlap`, so that a receiver can change over; any older one ends now.
    """
    touched = sa.update(webhook_endpoints).where(*_mine(tenant_id, endpoint_id)).values(updated_at=NOW)
    if connection.execute(touched).rowcount == 0:
        return None
    last, until = webhook_secrets.c.expires_at, NOW + overlap
    connection.execute(
        sa.update(webhook_secrets)
        .where(
            webhook_secrets.c.tenant_id == tenant_id,
            webhook_secrets.c.endpoint_id == endpoint_id,
            sa.or_(last.is_(None), last > NOW),
        )
        .values(expires_at=sa.case((last.is_(None), until), else_=NOW))
    )
    secret = _add_secret(connection, tenant_id, endpoint_id, keys)
    return _read(connection, tenant_id, endpoint_id), secret


def find(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """The tenant's endpoint, unless it is deleted."""
    query = sa.select(*_COLUMNS).where(*_mine(tenant_id, endpoint_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _endpoint(row)


def page(connection: Connection, tenant_id: UUID, *, after: UUID | None, limit: int) -> EndpointPage:
    """Up to `limit` endpoints older than `after`, newest first."""
    query = sa.select(*_COLUMNS).where(webhook_endpoints.c.tenant_id == tenant_id, _LIVE)
    if after is not None:
        query = query.where(webhook_endpoints.c.id < after)
    rows = connection.execute(query.order_by(webhook_endpoints.c.id.desc()).limit(limit + 1)).mappings()
    found = tuple(_endpoint(row) for row in rows)
    return EndpointPage(found[:limit], len(found) > limit)


def update(connection: Connection, tenant_id: UUID, endpoint_id: UUID, changes: Changes) -> Endpoint | None:
    """The endpoint with the changes made and switched on again; None if there is none.

    `updated_at` moves only if something differs. Deliveries that wait go to the new URL.
    """
    wanted: dict[str, Any] = {"disabled_at": None}
    for column in ("name", "url", "event_types"):
        value = getattr(changes, column)
        if value is not None:
            wanted[column] = value if isinstance(value, str) else list(value)
    differs = sa.or_(*(webhook_endpoints.c[column].is_distinct_from(value) for column, value in wanted.items()))
    changed = sa.update(webhook_endpoints).where(*_mine(tenant_id, endpoint_id), differs)
    connection.execute(changed.values(**wanted, updated_at=NOW))
    return find(connection, tenant_id, endpoint_id)


def delete(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Hide the endpoint and end its deliveries that wait. False if there is none."""
    hidden = connection.execute(
        sa.update(webhook_endpoints).where(*_mine(tenant_id, endpoint_id)).values(deleted_at=NOW)
    )
    if hidden.rowcount == 0:
        return False
    cancel_pending(connection, tenant_id, endpoint_id)
    return True


def disable(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> None:
    """Send nothing more to the endpoint until its owner updates it."""
    connection.execute(
        sa.update(webhook_endpoints)
        .where(*_mine(tenant_id, endpoint_id), webhook_endpoints.c.disabled_at.is_(None))
        .values(disabled_at=NOW)
    )
    cancel_pending(connection, tenant_id, endpoint_id)


def cancel_pending(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> None:
    """End what waits for an endpoint that takes no more."""
    connection.execute(
        sa.update(webhook_deliveries)
        .where(
            webhook_deliveries.c.tenant_id == tenant_id,
            webhook_deliveries.c.endpoint_id == endpoint_id,
            webhook_deliveries.c.state == "pending",
        )
        .values(state="cancelled", ended_at=NOW)
    )


def announce_end(connection: Connection, tenant_id: UUID, video_id: UUID, state: State) -> None:
    """Store the one message of a video's end, and a delivery for every endpoint that wants it."""
    event_type = event_for(state)
    if event_type is None:
        return
    message_id = new_id()
    body = payload(message_id, event_type, int(time.time()), video_id)
    connection.execute(
        sa.insert(webhook_messages).values(
            id=message_id, tenant_id=tenant_id, video_id=video_id, type=event_type, body=body
        )
    )
    wanted = sa.select(
        webhook_endpoints.c.tenant_id, sa.literal(message_id, sa.Uuid), webhook_endpoints.c.id, sa.literal("pending")
    ).where(
        webhook_endpoints.c.tenant_id == tenant_id,
        _LIVE,
        webhook_endpoints.c.disabled_at.is_(None),
        sa.literal(event_type.value) == sa.any_(webhook_endpoints.c.event_types),
    )
    connection.execute(
        sa.insert(webhook_deliveries).from_select(["tenant_id", "message_id", "endpoint_id", "state"], wanted)
    )


def due_for_any_tenant(connection: Connection, limit: int) -> int:
    """Deliveries that are due, counted up to `limit`."""
    some = sa.select(sa.literal(1)).select_from(webhook_deliveries).where(sa.text(DUE)).limit(limit).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _add_secret(connection: Connection, tenant_id: UUID, endpoint_id: UUID, keys: Mapping[str, bytes]) -> str:
    secret = new_secret()
    sealed = seal(secret, keys, endpoint_id)
    connection.execute(
        sa.insert(webhook_secrets).values(
            id=new_id(),
            tenant_id=tenant_id,
            endpoint_id=endpoint_id,
            ciphertext=sealed.ciphertext,
            key_id=sealed.key_id,
            hint=f"{SECRET_PREFIX}…{secret[-4:]}",
        )
    )
    return secret


def _read(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint:
    return _endpoint(connection.execute(sa.select(*_COLUMNS).where(*_mine(tenant_id, endpoint_id))).mappings().one())


_LIVE = webhook_endpoints.c.deleted_at.is_(None)


def _mine(tenant_id: UUID, endpoint_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return webhook_endpoints.c.tenant_id == tenant_id, webhook_endpoints.c.id == endpoint_id, _LIVE


def _endpoint(row: RowMapping) -> Endpoint:
    typed: dict[str, Any] = {"event_types": tuple(EventType(name) for name in row["event_types"])}
    return Endpoint(**{**row, **typed})
