"""Deliveries of webhooks: claimed under a lease, finished under its fence. At least once each; ended exactly once.

A claim moves `next_at` to the end of the lease, so what was abandoned is woken like a retry whose time has come. Locks
are taken in one order: endpoint, then delivery; the claim waits for no delivery.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from domain.circuits import Health, Limits, after, given_up
from domain.deliveries import Attempt, Delivered, ErrorClass, GivenUp, RetryIn, Verdict
from domain.ids import Kind, public
from domain.retries import WEBHOOK_DELAYS
from storage import lanes, webhooks
from storage.lanes import DUE, Lane
from storage.outages import OUTAGES
from storage.secrets import Sealed
from storage.tables import NOW, webhook_attempts, webhook_deliveries, webhook_endpoints

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0  # three times what an attempt may take
_MAX_STARTED = 2 * len(WEBHOOK_DELAYS)  # attempts whose worker vanished count too
_LIMITS = Limits()


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
    signer: UUID | None  # whose secrets sign; None: the tenant's default one, which is not made yet
    secrets: tuple[Sealed, ...]  # newest first; they open for `signer`

    @property
    def public_id(self) -> str:
        """The `webhook-id`: the same at every attempt."""
        return public(Kind.EVENT, self.message_id)


@dataclass(frozen=True, slots=True)
class Finished:
    """What an attempt did to its endpoint. `alert_percent`: how near to being disabled it came with this attempt."""

    alert_percent: int = 0
    paused_seconds: float = 0.0  # its breaker opened
    disabled: webhooks.Reason | None = None


def claim_delivery_for_any_tenant(
    connection: Connection, lease_seconds: float = LEASE_SECONDS, after_endpoint: UUID | None = None
) -> Delivery | None:
    """Take a due delivery of a tenant with the fewest in flight; None if nothing may be sent now.

    One claim at a time, as for videos: the choice sees what the last claim committed, and no bound is overrun.
    `after_endpoint` is where the caller's last claim was.
    """
    connection.execute(_LOCK)
    while lane := lanes.choose_for_any_tenant(connection, after_endpoint):
        try:
            row = _take(connection, lane, lease_seconds)
        except OUTAGES:
            raise
        except DBAPIError:  # whatever it is, the others are served
            log.exception("a webhook endpoint cannot be served", extra={"endpoint": lane.endpoint_id.hex})
            connection.execute(_POSTPONE, {"endpoint": lane.endpoint_id})
            continue
        if row is None:
            return None  # somebody sends it anew at this moment, and rings afterwards
        if row.attempts <= _MAX_STARTED and row.wanted:
            secrets = tuple(Sealed(*each) for each in zip(row.ciphertexts, row.key_ids, strict=True))
            return Delivery(
                row.tenant_id,
                row.message_id,
                row.endpoint_id,
                row.fence,
                row.attempts,
                row.url,
                row.body,
                row.signer,
                secrets,
            )
        _end(connection, row)
    return None


def _take(connection: Connection, lane: Lane, lease_seconds: float) -> sa.Row[Any] | None:
    with connection.begin_nested():
        if lane.limited:
            connection.execute(_TAKE_SLOT, {"endpoint": lane.endpoint_id})
        lease = timedelta(seconds=lease_seconds)
        return connection.execute(_TAKE, {"endpoint": lane.endpoint_id, "lease": lease}).one_or_none()


def finish(
    connection: Connection, delivery: Delivery, attempt: Attempt, verdict: Verdict, limits: Limits = _LIMITS
) -> Finished | None:
    """Record the attempt and what follows. None, and nothing changes, if the delivery is no longer this claim's."""
    endpoint = connection.execute(_LOCK_ENDPOINT, {"endpoint": delivery.endpoint_id}).mappings().one()
    mine = (
        webhook_deliveries.c.tenant_id == delivery.tenant_id,
        webhook_deliveries.c.message_id == delivery.message_id,
        webhook_deliveries.c.endpoint_id == delivery.endpoint_id,
        webhook_deliveries.c.state == "pending",
        webhook_deliveries.c.fence == delivery.fence,
    )
    done = sa.update(webhook_deliveries).where(*mine).values(**_after(verdict), lease_until=None)
    if not _record(connection, delivery, attempt, done):
        return None
    gone = isinstance(verdict, GivenUp) and verdict.gone
    before = webhooks.health_of(endpoint)
    now_health = before
    if attempt.error is not ErrorClass.SECRET:  # that one is ours, not the receiver's
        now_health = after(before, endpoint["now"], limits, success=attempt.error is None)
        _write(connection, delivery, now_health)
    return _consequences(connection, delivery, before, now_health, gone=gone, kept=endpoint["kind"] != "registered")


def _consequences(
    connection: Connection, delivery: Delivery, before: Health, health: Health, *, gone: bool, kept: bool
) -> Finished:
    """An origin that requests name is never disabled (`kept`): nobody could switch it on again."""
    finished = Finished(
        alert_percent=health.alert_percent if health.alert_percent > before.alert_percent and not kept else 0,
        paused_seconds=health.open_seconds if health.open_until not in {None, before.open_until} else 0.0,
    )
    if kept or not (gone or given_up(health)):
        return finished
    reason: webhooks.Reason = "gone" if gone else "failing"
    webhooks.disable(connection, delivery.tenant_id, delivery.endpoint_id, reason)
    return replace(finished, disabled=reason)


def _write(connection: Connection, delivery: Delivery, health: Health) -> None:
    connection.execute(
        sa.update(webhook_endpoints)
        .where(
            webhook_endpoints.c.tenant_id == delivery.tenant_id,
            webhook_endpoints.c.id == delivery.endpoint_id,
        )
        .values(**asdict(health))
    )


def _end(connection: Connection, row: sa.Row[tuple[object, ...]]) -> None:
    """No worker survives this delivery, or its endpoint went while it was being stored, or its URL is erased."""
    connection.execute(
        sa.update(webhook_deliveries)
        .where(webhook_deliveries.c.message_id == row.message_id, webhook_deliveries.c.endpoint_id == row.endpoint_id)
        .values(state="failed" if row.wanted else "cancelled", ended_at=NOW, lease_until=None)
    )


def _after(verdict: Verdict) -> dict[str, object]:
    match verdict:
        case Delivered():
            return {"state": "delivered", "ended_at": NOW}
        case RetryIn(seconds):
            return {"next_at": NOW + timedelta(seconds=seconds)}
        case GivenUp():
            return {"state": "failed", "ended_at": NOW}


def _record(connection: Connection, delivery: Delivery, attempt: Attempt, done: sa.Update) -> bool:
    """Update the delivery and keep the attempt, in one statement. False if there was nothing to update."""
    updated = done.returning(webhook_deliveries.c.tenant_id).cte("updated")
    values: dict[str, Any] = {
        "message_id": delivery.message_id,
        "endpoint_id": delivery.endpoint_id,
        "attempt": delivery.attempts,
        "fence": delivery.fence,
        "duration_ms": attempt.duration_ms,
        "timings": attempt.timings or None,
        "status": attempt.status,
        "error": attempt.error,
        # Postgres text holds no NUL; whatever is not UTF-8 is shown as such.
        "response": attempt.response.decode("utf-8", "replace").replace("\0", "�") or None,
    }
    typed = {name: (value, webhook_attempts.c[name].type) for name, value in values.items()}
    columns = [sa.cast(sa.null(), kind) if value is None else sa.literal(value, kind) for value, kind in typed.values()]
    kept = sa.insert(webhook_attempts).from_select(["tenant_id", *values], sa.select(updated.c.tenant_id, *columns))
    return connection.execute(kept.returning(webhook_attempts.c.fence)).one_or_none() is not None


_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kinema queue deliver', 0))")

_LOCK_ENDPOINT = (
    sa.select(webhook_endpoints.c.kind, *webhooks.HEALTH, NOW.label("now"))
    .where(webhook_endpoints.c.id == sa.bindparam("endpoint"))
    .with_for_update(key_share=True)
)

_TAKE_SLOT = sa.text("""
UPDATE webhook_endpoints
SET slot_at = greatest(slot_at, clock_timestamp()) + interval '1 second' / rate
WHERE id = :endpoint AND rate IS NOT NULL
""")

_POSTPONE = sa.text("""
UPDATE webhook_endpoints SET slot_at = clock_timestamp() + interval '1 minute' WHERE id = :endpoint
""")

_SIGNING = """
FROM webhook_secrets
WHERE endpoint_id = taken.signer AND (expires_at IS NULL OR expires_at > statement_timestamp())
ORDER BY id DESC"""

_TAKE = sa.text(f"""
WITH picked AS MATERIALIZED (
  SELECT message_id, endpoint_id FROM webhook_deliveries
  WHERE {DUE} AND endpoint_id = :endpoint
  ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE webhook_deliveries d SET
    fence = fence + 1, attempts = attempts + 1, ready = false,
    lease_until = statement_timestamp() + :lease, next_at = statement_timestamp() + :lease
  FROM picked, webhook_messages m, webhook_endpoints e
  WHERE d.message_id = picked.message_id AND d.endpoint_id = picked.endpoint_id
    AND m.id = d.message_id AND e.id = d.endpoint_id
  RETURNING d.tenant_id, d.message_id, d.endpoint_id, d.fence, d.attempts, m.body,
    CASE WHEN e.kind = 'request' THEN d.url ELSE e.url END AS url,
    e.deleted_at IS NULL AND e.disabled_at IS NULL AND (e.kind <> 'request' OR d.url IS NOT NULL) AS wanted,
    CASE WHEN e.kind = 'request'
      THEN (SELECT s.id FROM webhook_endpoints s WHERE s.tenant_id = e.tenant_id AND s.kind = 'default')
      ELSE e.id END AS signer
)
SELECT taken.*,
  ARRAY(SELECT ciphertext {_SIGNING}) AS ciphertexts,
  ARRAY(SELECT key_id {_SIGNING}) AS key_ids
FROM taken
""")  # noqa: S608 - the only insertion is our own condition
