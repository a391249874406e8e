"""Endpoints of webhooks: where a tenant wants its events sent, how fast, and how that goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.circuits import Health
from domain.errors import Conflict
from domain.ids import Kind, new_id, public
from domain.webhooks import LOG_DAYS, EventType, Pace
from storage import endpoint_secrets
from storage.announcements import REGISTERED, announce
from storage.tables import NOW, webhook_deliveries, webhook_endpoints, webhook_secrets

Reason = Literal["gone", "failing"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tenant wants its events sent.

    `disabled_at` is set, with its reason, when the receiver answered 410 or failed for too long.
    """

    id: UUID
    name: str
    url: str
    event_types: tuple[EventType, ...]
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    disabled_reason: Reason | None
    secret_hint: str
    pace: Pace
    health: Health


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update sets; None leaves it as it is. A rate of 0 lifts the limit."""

    name: str | None = None
    url: str | None = None
    event_types: Sequence[EventType] | None = None
    rate: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointPage:
    """A slice of a tenant's endpoints, newest first."""

    endpoints: tuple[Endpoint, ...]
    has_more: bool


HEALTH = tuple(webhook_endpoints.c[field.name] for field in fields(Health))
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
    webhook_endpoints.c.disabled_reason,
    webhook_endpoints.c.rate,
    webhook_endpoints.c.concurrency,
    *HEALTH,
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
    pace: Pace | None = None,
    most: int | None = None,
) -> tuple[Endpoint, str]:
    """A new endpoint and its signing secret, which is readable only here. Raises Conflict if there are `most`."""
    if most is not None:
        _refuse_beyond(connection, tenant_id, most)
    endpoint_id, now, wanted = new_id(), sa.func.statement_timestamp(), pace or Pace()
    connection.execute(
        sa.insert(webhook_endpoints).values(
            id=endpoint_id,
            tenant_id=tenant_id,
            name=name,
            url=url,
            event_types=list(event_types),
            rate=wanted.rate or None,
            concurrency=wanted.concurrency,
            created_at=now,
            updated_at=now,
        )
    )
    secret = endpoint_secrets.add(connection, tenant_id, endpoint_id, keys)
    return _read(connection, tenant_id, endpoint_id), secret


def rotate_secret(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, keys: Mapping[str, bytes], overlap: timedelta
) -> tuple[Endpoint, str] | None:
    """A new signing secret, as `endpoint_secrets.rotate` makes it; None if there is no such endpoint."""
    if find(connection, tenant_id, endpoint_id) is None:
        return None
    secret = endpoint_secrets.rotate(connection, tenant_id, endpoint_id, keys, overlap)
    return None if secret is None else (_read(connection, tenant_id, endpoint_id), secret)


def find(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """The tenant's endpoint, unless it is deleted."""
    query = sa.select(*_COLUMNS).where(*_mine(tenant_id, endpoint_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _endpoint(row)


def page(connection: Connection, tenant_id: UUID, *, after: UUID | None, limit: int) -> EndpointPage:
    """Up to `limit` endpoints older than `after`, newest first."""
    query = sa.select(*_COLUMNS).where(webhook_endpoints.c.tenant_id == tenant_id, *_SHOWN)
    if after is not None:
        query = query.where(webhook_endpoints.c.id < after)
    rows = connection.execute(query.order_by(webhook_endpoints.c.id.desc()).limit(limit + 1)).mappings()
    found = tuple(_endpoint(row) for row in rows)
    return EndpointPage(found[:limit], len(found) > limit)


def update(connection: Connection, tenant_id: UUID, endpoint_id: UUID, changes: Changes) -> Endpoint | None:
    """The endpoint with the changes made, switched on again, its failures forgiven; None if there is none.

    `updated_at` moves only if something differs. Deliveries that wait go to the new URL.
    """
    wanted: dict[str, Any] = {"disabled_at": None, "disabled_reason": None}
    for column in ("name", "url", "event_types", "rate", "concurrency"):
        value = getattr(changes, column)
        if value is not None:
            wanted[column] = list(value) if column == "event_types" else value
    if "rate" in wanted:
        wanted["rate"] = wanted["rate"] or None
    differs = sa.or_(*(webhook_endpoints.c[column].is_distinct_from(value) for column, value in wanted.items()))
    changed = sa.update(webhook_endpoints).where(*_mine(tenant_id, endpoint_id), differs)
    forgiven = {field.name: getattr(Health(), field.name) for field in fields(Health)}
    connection.execute(changed.values(**wanted, **forgiven, slot_at=None, updated_at=NOW))
    return find(connection, tenant_id, endpoint_id)


def delete(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Hide the endpoint and end its deliveries that wait. False if there is none."""
    hidden = connection.execute(
        sa.update(webhook_endpoints)
        .where(*_mine(tenant_id, endpoint_id))
        .values(deleted_at=NOW, forget_at=NOW + timedelta(days=LOG_DAYS))
    )
    if hidden.rowcount == 0:
        return False
    _cancel_pending(connection, tenant_id, endpoint_id)
    return True


def disable(connection: Connection, tenant_id: UUID, endpoint_id: UUID, reason: Reason) -> None:
    """Send nothing more to the endpoint until its owner updates it, and tell the tenant's other endpoints."""
    switched = connection.execute(
        sa.update(webhook_endpoints)
        .where(*_mine(tenant_id, endpoint_id), webhook_endpoints.c.disabled_at.is_(None))
        .values(disabled_at=NOW, disabled_reason=reason)
    )
    _cancel_pending(connection, tenant_id, endpoint_id)
    if switched.rowcount:
        itself = public(Kind.WEBHOOK_ENDPOINT, endpoint_id)
        announce(connection, tenant_id, EventType.ENDPOINT_DISABLED, itself, skip=endpoint_id)


def _refuse_beyond(connection: Connection, tenant_id: UUID, most: int) -> None:
    """One create of a tenant at a time counts, so that two cannot both be the last."""
    connection.execute(_LOCK, {"tenant": str(tenant_id)})
    count = sa.select(sa.func.count()).where(webhook_endpoints.c.tenant_id == tenant_id, *_SHOWN)
    if (connection.scalar(count) or 0) >= most:
        raise Conflict(
            f"You have {most} webhook endpoints, which is your limit. Delete one, or ask for a higher limit.",
            code="webhook_endpoint_limit",
        )


def _cancel_pending(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> None:
    connection.execute(
        sa.update(webhook_deliveries)
        .where(
            webhook_deliveries.c.tenant_id == tenant_id,
            webhook_deliveries.c.endpoint_id == endpoint_id,
            webhook_deliveries.c.state == "pending",
        )
        .values(state="cancelled", ended_at=NOW, lease_until=None)
    )


def _read(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint:
    return _endpoint(connection.execute(sa.select(*_COLUMNS).where(*_mine(tenant_id, endpoint_id))).mappings().one())


_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kinema endpoints ' || :tenant, 0))")
_SHOWN = (webhook_endpoints.c.deleted_at.is_(None), REGISTERED)


def _mine(tenant_id: UUID, endpoint_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return webhook_endpoints.c.tenant_id == tenant_id, webhook_endpoints.c.id == endpoint_id, *_SHOWN


def health_of(row: RowMapping) -> Health:
    """The health that a row of `HEALTH` holds."""
    return Health(**{column.name: row[column] for column in HEALTH})


def _endpoint(row: RowMapping) -> Endpoint:
    own: dict[str, Any] = {field.name: row[field.name] for field in fields(Endpoint) if field.name in row}
    own["event_types"] = tuple(EventType(name) for name in row["event_types"])
    return Endpoint(**own, pace=Pace(row["rate"], row["concurrency"]), health=health_of(row))
