"""Tenants: OpenAI's projects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.ids import new_id
from storage.tables import NOW, tenants


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns videos, how much of the renderers it may use, and what it may ask for. None: no limit."""

    id: UUID
    name: str
    weight: float
    render_cap: int
    retention_seconds: int
    allowed_models: tuple[str, ...] | None
    moderation: dict[str, Any] | None
    requests_per_minute: int | None
    creates_per_minute: int | None
    streams: int
    endpoints: int
    created_at: datetime
    disabled_at: datetime | None


COLUMNS = tuple(tenants.c[field.name] for field in fields(Tenant))


def create_for_any_tenant(connection: Connection, name: str, **columns: Any) -> Tenant:
    """A new tenant; what is not said has the schema's default. See `domain.tenants` for what may be said."""
    row = {"id": new_id(), "name": name, **columns}
    return tenant(connection.execute(sa.insert(tenants).values(row).returning(*COLUMNS)).mappings().one())


def find(connection: Connection, tenant_id: UUID, *, lock: bool = False) -> Tenant | None:
    """The tenant, disabled or not. `lock` keeps others from changing it until commit."""
    query = sa.select(*COLUMNS).where(tenants.c.id == tenant_id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).mappings().one_or_none()
    return None if row is None else tenant(row)


def find_by_name_for_any_tenant(connection: Connection, name: str) -> Tenant | None:
    """The oldest tenant of that name."""
    query = sa.select(*COLUMNS).where(tenants.c.name == name, tenants.c.disabled_at.is_(None))
    row = connection.execute(query.order_by(tenants.c.id).limit(1)).mappings().one_or_none()
    return None if row is None else tenant(row)


def page_for_any_tenant(
    connection: Connection, *, name: str | None = None, after: UUID | None, limit: int
) -> tuple[tuple[Tenant, ...], bool]:
    """Up to `limit` tenants older than `after`, newest first, and whether there are more."""
    query = sa.select(*COLUMNS)
    if name is not None:
        query = query.where(tenants.c.name == name)
    if after is not None:
        query = query.where(tenants.c.id < after)
    found = tuple(tenant(row) for row in connection.execute(_newest(query, limit)).mappings())
    return found[:limit], len(found) > limit


def update(connection: Connection, tenant_id: UUID, values: Mapping[str, Any]) -> None:
    """Set these columns."""
    if values:
        connection.execute(sa.update(tenants).where(tenants.c.id == tenant_id).values(dict(values)))


def switch(connection: Connection, tenant_id: UUID, *, disabled: bool) -> None:
    """Let its keys work or not. Accepted videos go on either way."""
    change = sa.update(tenants).where(tenants.c.id == tenant_id, tenants.c.disabled_at.is_(None) == disabled)
    connection.execute(change.values(disabled_at=NOW if disabled else None))


def moderation(connection: Connection, tenant_id: UUID) -> dict[str, Any]:
    """The tenant's departures from the installation's moderation policy."""
    return connection.scalar(sa.select(tenants.c.moderation).where(tenants.c.id == tenant_id)) or {}


def tenant(row: RowMapping) -> Tenant:
    """The row's tenant; other columns of a join are left aside."""
    values: dict[str, Any] = {column.name: row[column] for column in COLUMNS}
    models: list[str] | None = values["allowed_models"]
    values["allowed_models"] = None if models is None else tuple(models)
    return Tenant(**values)


def _newest(query: sa.Select[Any], limit: int) -> sa.Select[Any]:
    return query.order_by(tenants.c.id.desc()).limit(limit + 1)
