"""/v1/webhook_endpoints: where a tenant wants its events sent, as `client.webhooks` of OpenAI's SDK manages it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api import bodies, idempotency, paging, webhook_values
from api.bodies import Received
from api.deps import Authenticated, Served
from api.idempotency import Retrying
from api.openapi import FAILURES
from api.paging import After, Limit, Named, Page
from api.services import Services
from api.webhook_trial import send_test
from domain import ids
from domain.webhooks import CONCURRENCY, EventType, Pace
from storage import endpoint_secrets, webhooks
from storage.database import Connection
from storage.keys import Caller
from storage.secrets import unseal
from storage.webhooks import Changes, Endpoint, Reason

ENDPOINT = "/webhook_endpoints/{webhook_endpoint_id}"


class WebhookHealth(BaseModel):
    """How it goes. Paused: nothing is sent before `paused_until`, then one probe decides, and no attempt is lost.

    `alert_percent` says how near a failing endpoint is to being disabled: 0, 50, 70, 90 or 100.
    """

    state: Literal["ok", "failing", "paused"]
    paused_until: int | None
    failing_since: int | None
    failures: int = Field(description="In a row.")
    alert_percent: int
    alerted_at: int | None


class WebhookEndpoint(Named):
    """OpenAI's object. From `disabled_at` on it is ours: nothing is sent to a disabled endpoint until an update."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[EventType]
    created_at: int
    updated_at: int
    signing_secret_hint: str
    disabled_at: int | None
    disabled_reason: Reason | None
    rate: float | None
    concurrency: int
    health: WebhookHealth


class WebhookEndpointWithSecret(WebhookEndpoint):
    """The only answer that holds the secret."""

    signing_secret: str


class WebhookEndpointList(Page[WebhookEndpoint]):
    """A page of endpoints; `last_id` is the next page's `after`."""


class DeletedWebhookEndpoint(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class WebhookEndpointTest(BaseModel):
    """The endpoint answered; `status_code` says what."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: EventType
    status_code: int
    success: Literal[True] = True


class WebhookEventTypeList(BaseModel):
    """What can be subscribed to."""

    object: Literal["list"] = "list"
    data: list[EventType]


router = APIRouter(prefix="/v1", tags=["webhooks"], responses=FAILURES)


@router.post(
    "/webhook_endpoints", openapi_extra=webhook_values.json_body(webhook_values.ENDPOINT, *webhook_values.REQUIRED)
)
def create_webhook_endpoint(
    retry: Retrying, served: Served, caller: Authenticated, body: Received, response: Response
) -> WebhookEndpointWithSecret:
    """Subscribe a URL to event types. `signing_secret` is shown here, to a repetition of this call, and never again."""
    values = bodies.read(body)
    attempt = idempotency.attempt(retry, caller, values)
    made = attempt.recall(served)
    if made is None:
        wanted = webhook_values.changes(served, values)
        webhook_values.require(values, *webhook_values.REQUIRED)
        with served.database.transaction(caller.tenant_id) as connection:
            made = attempt.once(connection, lambda: _create(served, connection, caller, wanted))
    made.tell(response)
    return _with_secret(served, caller, made.resource)


@router.get("/webhook_endpoints")
def list_webhook_endpoints(
    served: Served,
    caller: Authenticated,
    after: After = None,
    limit: Limit = 20,
) -> WebhookEndpointList:
    """A page of the caller's endpoints, newest first."""
    cursor = paging.named(ids.Kind.WEBHOOK_ENDPOINT, after)
    with served.database.transaction(caller.tenant_id) as connection:
        page = webhooks.page(connection, caller.tenant_id, after=cursor, limit=limit)
    return WebhookEndpointList.of([_shown(endpoint) for endpoint in page.endpoints], more=page.has_more)


@router.get(ENDPOINT)
def retrieve_webhook_endpoint(served: Served, caller: Authenticated, webhook_endpoint_id: str) -> WebhookEndpoint:
    """One endpoint, without its secret."""
    endpoint_id = webhook_values.known(webhook_endpoint_id)
    with served.database.transaction(caller.tenant_id) as connection:
        endpoint = webhooks.find(connection, caller.tenant_id, endpoint_id)
        if endpoint is not None:
            served.retrievals.note(connection, caller.tenant_id, webhook_endpoint_id, endpoint.created_at)
    return _shown(endpoint or webhook_values.not_found(webhook_endpoint_id))


@router.post(ENDPOINT, openapi_extra=webhook_values.json_body(webhook_values.ENDPOINT))
def update_webhook_endpoint(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, body: Received
) -> WebhookEndpoint:
    """Change what is named, keep the rest. An endpoint that was disabled or paused is switched on again."""
    endpoint_id = webhook_values.known(webhook_endpoint_id)
    changes = webhook_values.changes(served, bodies.read(body))
    with served.database.transaction(caller.tenant_id) as connection:
        endpoint = webhooks.update(connection, caller.tenant_id, endpoint_id, changes)
    return _shown(endpoint or webhook_values.not_found(webhook_endpoint_id))


@router.delete(ENDPOINT)
def delete_webhook_endpoint(served: Served, caller: Authenticated, webhook_endpoint_id: str) -> DeletedWebhookEndpoint:
    """Send nothing more to the endpoint; what waits for it is dropped."""
    endpoint_id = webhook_values.known(webhook_endpoint_id)
    with served.database.transaction(caller.tenant_id) as connection:
        if not webhooks.delete(connection, caller.tenant_id, endpoint_id):
            webhook_values.not_found(webhook_endpoint_id)
    return DeletedWebhookEndpoint(id=webhook_endpoint_id)


@router.post(ENDPOINT + "/rotate_secret", openapi_extra=webhook_values.json_body(webhook_values.ROTATION))
def rotate_webhook_endpoint_secret(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, body: Received
) -> WebhookEndpointWithSecret:
    """A new signing secret. The old one ends at once, or signs beside it for as long as is asked for."""
    endpoint_id, overlap = webhook_values.known(webhook_endpoint_id), webhook_values.overlap(bodies.read(body))
    with served.database.transaction(caller.tenant_id) as connection:
        keys = served.settings.webhook_keys
        rotated = webhooks.rotate_secret(connection, caller.tenant_id, endpoint_id, keys, overlap)
    endpoint, secret = rotated or webhook_values.not_found(webhook_endpoint_id)
    return WebhookEndpointWithSecret(**_fields(endpoint), signing_secret=secret)


@router.post(ENDPOINT + "/test", openapi_extra=webhook_values.json_body(webhook_values.TEST, "event_type"))
def test_webhook_endpoint(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, body: Received
) -> WebhookEndpointTest:
    """Send a signed event that names nothing, now and once. Any HTTP answer counts; without one this is a 400."""
    endpoint_id, event_type = webhook_values.known(webhook_endpoint_id), webhook_values.tested(bodies.read(body))
    with served.database.transaction(caller.tenant_id) as connection:
        endpoint = webhooks.find(connection, caller.tenant_id, endpoint_id)
    status = send_test(served, caller, endpoint or webhook_values.not_found(webhook_endpoint_id), event_type)
    return WebhookEndpointTest(webhook_endpoint_id=webhook_endpoint_id, event_type=event_type, status_code=status)


@router.get("/webhook_event_types")
def list_webhook_event_types(_caller: Authenticated) -> WebhookEventTypeList:
    """What an endpoint can subscribe to."""
    return WebhookEventTypeList(data=list(EventType))


def _create(served: Services, connection: Connection, caller: Caller, wanted: Changes) -> str:
    endpoint, _ = webhooks.create(
        connection,
        caller.tenant_id,
        name=wanted.name or "",
        url=wanted.url or "",
        event_types=wanted.event_types or (),
        pace=Pace(wanted.rate, wanted.concurrency or CONCURRENCY),
        keys=served.settings.webhook_keys,
        most=caller.tenant.endpoints,
    )
    return ids.public(ids.Kind.WEBHOOK_ENDPOINT, endpoint.id)


def _with_secret(served: Services, caller: Caller, public_id: str) -> WebhookEndpointWithSecret:
    """The endpoint as it is now, with its newest secret. Raises NotFound if it was deleted since."""
    endpoint_id = webhook_values.known(public_id)
    with served.database.transaction(caller.tenant_id) as connection:
        endpoint = webhooks.find(connection, caller.tenant_id, endpoint_id) or webhook_values.not_found(public_id)
        newest, *_ = endpoint_secrets.active(connection, caller.tenant_id, endpoint_id)
    secret = unseal(newest, served.settings.webhook_keys, endpoint_id)
    return WebhookEndpointWithSecret(**_fields(endpoint), signing_secret=secret)


def _shown(endpoint: Endpoint) -> WebhookEndpoint:
    return WebhookEndpoint(**_fields(endpoint))


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": ids.public(ids.Kind.WEBHOOK_ENDPOINT, endpoint.id),
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "created_at": _seconds(endpoint.created_at),
        "updated_at": _seconds(endpoint.updated_at),
        "signing_secret_hint": endpoint.secret_hint,
        "disabled_at": _seconds(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "rate": endpoint.pace.rate,
        "concurrency": endpoint.pace.concurrency,
        "health": _health(endpoint),
    }


def _health(endpoint: Endpoint) -> WebhookHealth:
    health = endpoint.health
    failing = "failing" if health.failing_since else "ok"
    return WebhookHealth(
        state="paused" if health.open_until else failing,
        paused_until=_seconds(health.open_until),
        failing_since=_seconds(health.failing_since),
        failures=health.failures,
        alert_percent=health.alert_percent,
        alerted_at=_seconds(health.alerted_at),
    )


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
