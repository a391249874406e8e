"""A test event: really signed, really sent, while the caller waits."""

from __future__ import annotations

import time
from threading import BoundedSemaphore

from api.services import Services
from domain.errors import InvalidRequest, Unavailable
from domain.ids import Kind, new_id, public
from domain.webhooks import EventType, payload, sample
from runtime.egress import Egress
from runtime.webhooks import send
from storage import endpoint_secrets
from storage.keys import Caller
from storage.secrets import unseal
from storage.webhooks import Endpoint

TEST_SECONDS = 10.0  # for the whole exchange: half of what a delivery gets, since a request thread waits
_PLACES = BoundedSemaphore(4)  # of the process's request threads, so that slow receivers leave some for all others


def send_test(served: Services, caller: Caller, endpoint: Endpoint, event_type: EventType) -> int:
    """The status that the endpoint answers with.

    Raises InvalidRequest if it does not answer, and Unavailable while too many tests are under way.
    """
    with served.database.transaction(caller.tenant_id) as connection:
        sealed = endpoint_secrets.active(connection, caller.tenant_id, endpoint.id)
    secrets = [unseal(each, served.settings.webhook_keys, endpoint.id) for each in sealed]
    message = new_id()
    body = payload(message, event_type, int(time.time()), sample(event_type))
    egress = Egress(allow_loopback=served.settings.webhook_allow_loopback, total_seconds=TEST_SECONDS)
    if not _PLACES.acquire(blocking=False):
        raise Unavailable("Too many webhook tests are under way. Please try again shortly.")
    try:
        attempt = send(egress, endpoint.url, public(Kind.EVENT, message), body, secrets)
    finally:
        _PLACES.release()
    if attempt.status is None:
        raise InvalidRequest(
            f"The endpoint gave no answer: {attempt.error}.", param="webhook_endpoint_id", code="webhook_test_failed"
        )
    return attempt.status
