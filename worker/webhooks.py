"""The deliver loop: whatever is due, signed and sent, until nothing is."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

from domain.deliveries import Attempt, ErrorClass, judge
from runtime.egress import TOTAL_SECONDS, Egress
from runtime.webhooks import send
from storage import deliveries, endpoint_secrets, lanes
from storage.database import Database
from storage.deliveries import LEASE_SECONDS, Delivery, Finished
from storage.outages import OUTAGES
from storage.secrets import Sealed, UnreadableSecret, unseal

log = logging.getLogger(__name__)


class Turns:
    """The claims of one process, one at a time: the database takes them in turn anyway.

    So the others wait without a connection. Whoever waited while another found nothing to claim need not look again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nothing_at = -math.inf

    def claim(self, take: Callable[[], Delivery | None]) -> Delivery | None:
        """What `take` claims; None if there is nothing, or was nothing after this caller came."""
        came = time.monotonic()
        with self._lock:
            if self._nothing_at > came:
                return None
            began = time.monotonic()
            taken = take()
            if taken is None:
                self._nothing_at = began
        return taken


def deliver_due(
    database: Database,
    keys: Mapping[str, bytes],
    *,
    allow_loopback: bool = False,
    total_seconds: float = TOTAL_SECONDS,
    lease_seconds: float = LEASE_SECONDS,
    keep_going: Callable[[], bool] = lambda: True,
    turns: Turns | None = None,
) -> int:
    """Send what is due, one after the other; many threads may do so at once. Returns the attempts that counted.

    Threads of one process share their `turns`.
    No connection is held while a receiver takes its time. If the process dies, the lease runs out and another sends
    the message again under the same id. The same happens if the database goes away, which ends the loop early.
    """
    egress = Egress(allow_loopback=allow_loopback, total_seconds=total_seconds)
    counted, turns = 0, turns or Turns()
    last: UUID | None = None
    try:
        while keep_going() and (delivery := turns.claim(partial(_claim, database, lease_seconds, last))):
            counted += _deliver_one(database, delivery, keys, egress)
            last = delivery.endpoint_id
    except OUTAGES as error:
        log.warning("deliveries wait: the database does not answer", extra={"error": type(error).__name__})
    return counted


def _claim(database: Database, lease_seconds: float, last: UUID | None) -> Delivery | None:
    """While something else is ready, the dispatcher wakes what waits."""
    taken = _take(database, lease_seconds, last)
    if taken is None and _wake(database):
        taken = _take(database, lease_seconds, last)
    return taken


def _wake(database: Database) -> int:
    with database.transaction_for_any_tenant() as connection:
        return lanes.wake_for_any_tenant(connection)


def _take(database: Database, lease_seconds: float, last: UUID | None) -> Delivery | None:
    with database.transaction_for_any_tenant() as connection:
        return deliveries.claim_delivery_for_any_tenant(connection, lease_seconds, last)


def _deliver_one(database: Database, delivery: Delivery, keys: Mapping[str, bytes], egress: Egress) -> bool:
    """What nobody foresaw about one delivery leaves it to its lease, which counts, and the loop to the others."""
    try:
        return _deliver(database, delivery, keys, egress)
    except OUTAGES:
        raise
    except Exception:  # of this delivery alone: its lease ends, and the others go on
        log.exception("a webhook cannot be delivered", extra={"event": delivery.public_id})
        return False


def _deliver(database: Database, delivery: Delivery, keys: Mapping[str, bytes], egress: Egress) -> bool:
    attempt = _attempt(database, delivery, keys, egress)
    verdict = judge(attempt, delivery.attempts, random.uniform(-1, 1))  # noqa: S311 - spreads load, hides nothing
    with database.transaction(delivery.tenant_id) as connection:
        finished = deliveries.finish(connection, delivery, attempt, verdict)
    log.info(
        "webhook sent after its lease was lost" if finished is None else "webhook sent",
        extra={
            "event": delivery.public_id,
            "endpoint": delivery.endpoint_id.hex,
            "attempt": delivery.attempts,
            "status": attempt.status,
            "error": attempt.error,
            "ms": attempt.duration_ms,
        },
    )
    if finished is not None:
        _tell(delivery, finished)
    return finished is not None


def _tell(delivery: Delivery, finished: Finished) -> None:
    """What the operator should know of a receiver that is not well; its owner sees the same in the endpoint."""
    of_endpoint = {"endpoint": delivery.endpoint_id.hex, "tenant": delivery.tenant_id.hex}
    if finished.paused_seconds:
        log.warning("a webhook endpoint is paused", extra={**of_endpoint, "seconds": finished.paused_seconds})
    if finished.alert_percent:
        log.warning("a webhook endpoint is failing", extra={**of_endpoint, "percent": finished.alert_percent})
    if finished.disabled:
        log.warning("a webhook endpoint is disabled", extra={**of_endpoint, "reason": finished.disabled})


def _attempt(database: Database, delivery: Delivery, keys: Mapping[str, bytes], egress: Egress) -> Attempt:
    try:
        signing = _secrets(database, delivery, keys)
    except UnreadableSecret as error:
        log.error("a webhook cannot be signed", extra={"endpoint": delivery.endpoint_id.hex, "reason": str(error)})  # noqa: TRY400 - the reason says it all
        return Attempt(0, error=ErrorClass.SECRET)
    return send(egress, delivery.url, delivery.public_id, delivery.body, signing)


def _secrets(database: Database, delivery: Delivery, keys: Mapping[str, bytes]) -> list[str]:
    """In the clear, newest first. The first request of a tenant that names a URL finds its default secret unmade."""
    sealed: tuple[Sealed, ...] = delivery.secrets
    owner = delivery.signer
    if owner is None:
        with database.transaction(delivery.tenant_id) as connection:
            default = endpoint_secrets.default(connection, delivery.tenant_id, keys)
        owner, sealed = default.owner, (default.secret,)
    return [unseal(each, keys, owner) for each in sealed]
