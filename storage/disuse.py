"""Endpoints that nobody needs any more: origins that no request names, and what its owner deleted."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from storage.tables import NOW, TICK, webhook_deliveries, webhook_endpoints, webhook_secrets

AGAIN = timedelta(days=1)  # until one that is in use is looked at again


def forget_for_any_tenant(connection: Connection, limit: int) -> bool:
    """Look at up to `limit` endpoints whose time is over, and drop those without deliveries. Whether there may be more.

    The log keeps a delivery for LOG_DAYS, so without any an endpoint has been of no use for as long. Whoever is about
    to add one holds the endpoint, which is then left alone.
    """
    over = sa.select(webhook_endpoints.c.id).where(webhook_endpoints.c.forget_at < TICK)
    due = over.order_by(webhook_endpoints.c.forget_at).limit(limit).with_for_update(skip_locked=True)
    locked = connection.scalars(due).all()
    if not locked:
        return False
    # A statement of its own, after the lock: it sees what was added until then.
    used = sa.exists().where(webhook_deliveries.c.endpoint_id == webhook_endpoints.c.id)
    mine = webhook_endpoints.c.id.in_(locked)
    unused = connection.scalars(sa.select(webhook_endpoints.c.id).where(mine, ~used)).all()
    connection.execute(sa.delete(webhook_secrets).where(webhook_secrets.c.endpoint_id.in_(unused)))
    connection.execute(sa.delete(webhook_endpoints).where(webhook_endpoints.c.id.in_(unused)))
    connection.execute(sa.update(webhook_endpoints).where(mine).values(forget_at=NOW + AGAIN))
    return len(locked) == limit
