"""A test event: really signed, really sent, while the caller waits."""

from __future__ import annotations

import time

from api.services import Services
from domain.deliveries import ErrorClass
from domain.errors import InvalidRequest
from domain.ids import Kind, new_id, public
from domain.webhooks import EventType, payload, sample
from runtime.egress import Egress
from runtime.webhooks import send
from storage import endpoint_secrets
from storage.keys import Caller
from storage.secrets import unseal
from storage.webhooks import Endpoint

TEST_SECONDS = 10.0  # for the whole exchange: half of what a delivery gets, since a request thread waits


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
    with served.trials.of(caller.tenant_id):
        attempt = send(egress, endpoint.url, public(Kind.EVENT, message), body, secrets)
    if attempt.status is None:
        # Which names exist in our own network is nobody's business: one class for all that are not public.
        error = ErrorClass.TARGET if attempt.error is ErrorClass.DNS else attempt.error
        raise InvalidRequest(
            f"The endpoint gave no answer: {error}.", param="webhook_endpoint_id", code="webhook_test_failed"
        )
    return attempt.status
