"""Signs of life of the processes that serve no HTTP, read where they leave them."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from storage.tables import LEASED, NOW, videos, workers
from storage.workers import ALIVE


def worker_beats_for_any_tenant(connection: Connection, host: str) -> bool:
    """Whether a worker process of that host has reported lately."""
    beating = sa.select(sa.literal(1)).where(workers.c.host == host, workers.c.beat_at > NOW - ALIVE).limit(1)
    return connection.scalar(beating) is not None


def overdue_leases_for_any_tenant(connection: Connection, seconds: float) -> int:
    """Leases, at most 100, that ran out so long ago that a dispatcher should have taken them back."""
    some = (
        sa.select(sa.literal(1))
        .where(sa.text(LEASED), videos.c.lease_until < NOW - timedelta(seconds=seconds))
        .limit(100)
        .subquery()
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
