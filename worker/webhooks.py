"""The deliver loop: whatever is due, signed and sent, until nothing is."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping

from domain.deliveries import Attempt, ErrorClass, judge
from domain.webhooks import headers
from runtime.egress import TOTAL_SECONDS, Egress
from storage import deliveries
from storage.database import Database
from storage.deliveries import LEASE_SECONDS, Delivery
from storage.outages import OUTAGES
from storage.secrets import UnreadableSecret, unseal

log = logging.getLogger(__name__)

USER_AGENT = "Kinema-Webhooks/1"


def deliver_due(
    database: Database,
    keys: Mapping[str, bytes],
    *,
    allow_loopback: bool = False,
    total_seconds: float = TOTAL_SECONDS,
    lease_seconds: float = LEASE_SECONDS,
    keep_going: Callable[[], bool] = lambda: True,
) -> int:
    """Send what is due, one after the other; many threads may do so at once. Returns the attempts that counted.

    No connection is held while a receiver takes its time. If the process dies, the lease runs out and another sends
    the message again under the same id. The same happens if the database goes away, which ends the loop early.
    """
    egress = Egress(allow_loopback=allow_loopback, total_seconds=total_seconds)
    counted = 0
    try:
        while keep_going() and (delivery := _claim(database, lease_seconds)):
            counted += _deliver(database, delivery, keys, egress)
    except OUTAGES as error:
        log.warning("deliveries wait: the database does not answer", extra={"error": type(error).__name__})
    return counted


def _claim(database: Database, lease_seconds: float) -> Delivery | None:
    with database.transaction_for_any_tenant() as connection:
        return deliveries.claim_delivery_for_any_tenant(connection, lease_seconds)


def _deliver(database: Database, delivery: Delivery, keys: Mapping[str, bytes], egress: Egress) -> bool:
    attempt = _attempt(delivery, keys, egress)
    verdict = judge(attempt, delivery.attempts, random.uniform(-1, 1))  # noqa: S311 - spreads load, hides nothing
    with database.transaction(delivery.tenant_id) as connection:
        counted = deliveries.finish(connection, delivery, attempt, verdict)
    log.info(
        "webhook sent" if counted else "webhook sent after its lease was lost",
        extra={
            "event": delivery.public_id,
            "endpoint": delivery.endpoint_id.hex,
            "attempt": delivery.attempts,
            "status": attempt.status,
            "error": attempt.error,
            "ms": attempt.duration_ms,
        },
    )
    return counted


def _attempt(delivery: Delivery, keys: Mapping[str, bytes], egress: Egress) -> Attempt:
    """Signed at the moment of sending: receivers refuse a signature that is five minutes old."""
    try:
        signing = [unseal(sealed, keys, delivery.endpoint_id) for sealed in delivery.secrets]
    except UnreadableSecret as error:
        log.error("a webhook cannot be signed", extra={"endpoint": delivery.endpoint_id.hex, "reason": str(error)})  # noqa: TRY400 - the reason says it all
        return Attempt(0, error=ErrorClass.SECRET)
    signed = headers(delivery.public_id, int(time.time()), delivery.body, signing)
    sent = signed | {"content-type": "application/json", "user-agent": USER_AGENT}
    return egress.post(delivery.url, sent, delivery.body)
