"""Tenants: OpenAI's projects."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.ids import new_id
from storage.tables import tenants


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns videos, and how much of the renderers it may use."""

    id: UUID
    name: str
    weight: float
    render_cap: int
    retention_seconds: int


def create_for_any_tenant(
    connection: Connection, name: str, *, weight: float = 1.0, render_cap: int = 4, retention_seconds: int = 86_400
) -> Tenant:
    """A new tenant. Its videos' results are kept for `retention_seconds`."""
    tenant = Tenant(new_id(), name, weight, render_cap, retention_seconds)
    connection.execute(
        sa.insert(tenants).values(
            id=tenant.id, name=name, weight=weight, render_cap=render_cap, retention_seconds=retention_seconds
        )
    )
    return tenant


def find_by_name_for_any_tenant(connection: Connection, name: str) -> Tenant | None:
    """The oldest tenant of that name."""
    query = sa.select(tenants).where(tenants.c.name == name, tenants.c.disabled_at.is_(None))
    row = connection.execute(query.order_by(tenants.c.id).limit(1)).one_or_none()
    if row is None:
        return None
    return Tenant(row.id, row.name, row.weight, row.render_cap, row.retention_seconds)
