"""Deliveries of webhooks: claimed under a lease, finished under its fence. At least once each; ended exactly once.

A claim moves `next_at` to the end of the lease, so one index answers both what is due and what was abandoned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.deliveries import Attempt, Delivered, GivenUp, RetryIn, Verdict
from domain.ids import Kind, public
from domain.retries import WEBHOOK_DELAYS
from storage import webhooks
from storage.secrets import Sealed
from storage.tables import NOW, webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_secrets
from storage.webhooks import DUE

LEASE_SECONDS = 60.0  # three times what an attempt may take
MAX_IN_FLIGHT = 4  # to one endpoint at once
_MAX_STARTED = 2 * len(WEBHOOK_DELAYS)  # attempts whose worker vanished count too


@dataclass(frozen=True, slots=True)
class Delivery:
    """The right to send one message to one endpoint, until the lease ends."""

    tenant_id: UUID
    message_id: UUID
    endpoint_id: UUID
    fence: int
    attempts: int  # this one included
    url: str
    body: bytes
    secrets: tuple[Sealed, ...]  # newest first; they open for `endpoint_id`

    @property
    def public_id(self) -> str:
        """The `webhook-id`: the same at every attempt."""
        return public(Kind.EVENT, self.message_id)


def claim_delivery_for_any_tenant(connection: Connection, lease_seconds: float = LEASE_SECONDS) -> Delivery | None:
    """Take a due delivery of a tenant with the fewest in flight; None if nothing may be sent now.

    One claim at a time, as for videos: the choice sees what the last claim committed, and no bound is overrun.
    """
    connection.execute(_LOCK)
    lease = timedelta(seconds=lease_seconds)
    while row := connection.execute(_CLAIM, {"lease": lease, "most": MAX_IN_FLIGHT}).one_or_none():
        if row.attempts <= _MAX_STARTED and row.wanted:
            sealed = _secrets(connection, row.endpoint_id)
            return Delivery(
                row.tenant_id, row.message_id, row.endpoint_id, row.fence, row.attempts, row.url, row.body, sealed
            )
        _end(connection, row)
    return None


def finish(connection: Connection, delivery: Delivery, attempt: Attempt, verdict: Verdict) -> bool:
    """Record the attempt and what follows. False, and nothing changes, if the delivery is no longer this claim's."""
    gone = isinstance(verdict, GivenUp) and verdict.gone
    if gone:
        _lock_endpoint(connection, delivery)
    mine = (
        webhook_deliveries.c.tenant_id == delivery.tenant_id,
        webhook_deliveries.c.message_id == delivery.message_id,
        webhook_deliveries.c.endpoint_id == delivery.endpoint_id,
        webhook_deliveries.c.state == "pending",
        webhook_deliveries.c.fence == delivery.fence,
    )
    done = connection.execute(sa.update(webhook_deliveries).where(*mine).values(**_after(verdict), lease_until=None))
    if done.rowcount == 0:
        return False
    _record(connection, delivery, attempt)
    if gone:
        webhooks.disable(connection, delivery.tenant_id, delivery.endpoint_id)
    return True


def _secrets(connection: Connection, endpoint_id: UUID) -> tuple[Sealed, ...]:
    rows = connection.execute(
        sa.select(webhook_secrets.c.ciphertext, webhook_secrets.c.key_id)
        .where(
            webhook_secrets.c.endpoint_id == endpoint_id,
            sa.or_(webhook_secrets.c.expires_at.is_(None), webhook_secrets.c.expires_at > NOW),
        )
        .order_by(webhook_secrets.c.id.desc())
    )
    return tuple(Sealed(row.ciphertext, row.key_id) for row in rows)


def _end(connection: Connection, row: sa.Row[tuple[object, ...]]) -> None:
    """No worker survives this delivery, or its endpoint went while the message was being stored."""
    connection.execute(
        sa.update(webhook_deliveries)
        .where(webhook_deliveries.c.message_id == row.message_id, webhook_deliveries.c.endpoint_id == row.endpoint_id)
        .values(state="failed" if row.wanted else "cancelled", ended_at=NOW, lease_until=None)
    )


def _lock_endpoint(connection: Connection, delivery: Delivery) -> None:
    """Endpoint before delivery: the order in which `webhooks.delete` locks them."""
    connection.execute(
        sa.select(webhook_endpoints.c.id)
        .where(
            webhook_endpoints.c.tenant_id == delivery.tenant_id,
            webhook_endpoints.c.id == delivery.endpoint_id,
        )
        .with_for_update(key_share=True)
    )


def _after(verdict: Verdict) -> dict[str, object]:
    match verdict:
        case Delivered():
            return {"state": "delivered", "ended_at": NOW}
        case RetryIn(seconds):
            return {"next_at": NOW + timedelta(seconds=seconds)}
        case GivenUp():
            return {"state": "failed", "ended_at": NOW}


def _record(connection: Connection, delivery: Delivery, attempt: Attempt) -> None:
    connection.execute(
        sa.insert(webhook_attempts).values(
            tenant_id=delivery.tenant_id,
            message_id=delivery.message_id,
            endpoint_id=delivery.endpoint_id,
            attempt=delivery.attempts,
            fence=delivery.fence,
            duration_ms=attempt.duration_ms,
            status=attempt.status,
            error=attempt.error,
            # Postgres text holds no NUL; whatever is not UTF-8 is shown as such.
            response=attempt.response.decode("utf-8", "replace").replace("\0", "�") or None,
        )
    )


_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kinema queue deliver', 0))")

# Tenants with equally many in flight take turns by lot, so that one with a long backlog cannot hold others up.
_CLAIM = sa.text(f"""
WITH flying AS (
  SELECT tenant_id, endpoint_id, count(*) AS n FROM webhook_deliveries
  WHERE state = 'pending' AND lease_until > statement_timestamp()
    AND next_at > statement_timestamp() AND next_at <= statement_timestamp() + :lease
  GROUP BY tenant_id, endpoint_id
), due AS (
  SELECT d.tenant_id, d.endpoint_id, min(d.next_at) AS since FROM webhook_deliveries d
  WHERE {DUE} GROUP BY d.tenant_id, d.endpoint_id
), free AS (
  SELECT due.* FROM due LEFT JOIN flying USING (endpoint_id) WHERE coalesce(n, 0) < :most
), chosen AS (
  SELECT tenant_id FROM (SELECT DISTINCT tenant_id FROM free) AS tenants
  ORDER BY (SELECT coalesce(sum(n), 0) FROM flying WHERE flying.tenant_id = tenants.tenant_id), random() LIMIT 1
), picked AS MATERIALIZED (
  SELECT message_id, endpoint_id FROM webhook_deliveries
  WHERE {DUE}
    AND endpoint_id = (SELECT endpoint_id FROM free WHERE tenant_id = (SELECT tenant_id FROM chosen)
                       ORDER BY since LIMIT 1)
  ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries d SET
  fence = fence + 1, attempts = attempts + 1,
  lease_until = statement_timestamp() + :lease, next_at = statement_timestamp() + :lease
FROM picked, webhook_messages m, webhook_endpoints e
WHERE d.message_id = picked.message_id AND d.endpoint_id = picked.endpoint_id
  AND m.id = d.message_id AND e.id = d.endpoint_id
RETURNING d.tenant_id, d.message_id, d.endpoint_id, d.fence, d.attempts, e.url, m.body,
  e.deleted_at IS NULL AND e.disabled_at IS NULL AS wanted
""")  # noqa: S608 - the only insertion is our own condition
