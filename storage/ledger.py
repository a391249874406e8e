"""Money: ledger entries, and the quota row that is the last lock of a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.errors import QuotaExceeded
from domain.ledger import Entry, closing, opening
from storage.tables import ledger, quotas


def hold(connection: Connection, tenant_id: UUID, video_id: UUID, price_micros: int) -> None:
    """Set the price aside. Raises QuotaExceeded, on which the caller's transaction must end, beyond the limit."""
    _write(connection, tenant_id, video_id, [opening(price_micros)])
    within = connection.scalar(
        sa.update(quotas)
        .where(quotas.c.tenant_id == tenant_id)
        .values(used_micros=quotas.c.used_micros + price_micros)
        .returning(quotas.c.used_micros <= quotas.c.limit_micros)
    )
    if within is False:  # None: a tenant without a limit has no row
        raise QuotaExceeded("You exceeded your current quota, please check your plan and billing details.")


def settle(
    connection: Connection, tenant_id: UUID, video_id: UUID, *, price_micros: int, gpu_ms: int, completed: bool
) -> None:
    """Give the hold back and, if there is a result, charge for it."""
    _write(connection, tenant_id, video_id, closing(price_micros, gpu_ms, completed=completed))
    if not completed:
        connection.execute(
            sa.update(quotas)
            .where(quotas.c.tenant_id == tenant_id)
            .values(used_micros=quotas.c.used_micros - price_micros)
        )


def set_limit(connection: Connection, tenant_id: UUID, limit_micros: int) -> None:
    """Limit what the tenant may spend; what it already used counts."""
    used = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.micros), 0)).where(ledger.c.tenant_id == tenant_id)
    row = {"tenant_id": tenant_id, "limit_micros": limit_micros, "used_micros": connection.scalar(used)}
    changed = connection.execute(
        sa.update(quotas).where(quotas.c.tenant_id == tenant_id).values(limit_micros=limit_micros)
    )
    if changed.rowcount == 0:
        connection.execute(sa.insert(quotas).values(row))


def _write(connection: Connection, tenant_id: UUID, video_id: UUID, entries: Iterable[Entry]) -> None:
    rows = [
        {
            "tenant_id": tenant_id,
            "video_id": video_id,
            "kind": entry.kind,
            "micros": entry.micros,
            "gpu_ms": entry.gpu_ms,
        }
        for entry in entries
    ]
    connection.execute(sa.insert(ledger), rows)
