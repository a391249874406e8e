"""Tenants: OpenAI's projects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.ids import new_id
from storage.tables import tenants


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


COLUMNS = tuple(tenants.c[field.name] for field in fields(Tenant))


def create_for_any_tenant(
    connection: Connection, name: str, *, weight: float = 1.0, render_cap: int = 4, retention_seconds: int = 86_400
) -> Tenant:
    """A new tenant. Its videos' results are kept for `retention_seconds`."""
    row = {
        "id": new_id(),
        "name": name,
        "weight": weight,
        "render_cap": render_cap,
        "retention_seconds": retention_seconds,
    }
    created = connection.execute(sa.insert(tenants).values(row).returning(*COLUMNS))
    return tenant(created.mappings().one())


def find_by_name_for_any_tenant(connection: Connection, name: str) -> Tenant | None:
    """The oldest tenant of that name."""
    query = sa.select(*COLUMNS).where(tenants.c.name == name, tenants.c.disabled_at.is_(None))
    row = connection.execute(query.order_by(tenants.c.id).limit(1)).mappings().one_or_none()
    return None if row is None else tenant(row)


def tenant(row: RowMapping) -> Tenant:
    """The row's tenant; other columns of a join are left aside."""
    values: dict[str, Any] = {column.name: row[column] for column in COLUMNS}
    models: list[str] | None = values["allowed_models"]
    values["allowed_models"] = None if models is None else tuple(models)
    return Tenant(**values)
