"""/v1/webhook_endpoints/{id}/deliveries: what was sent, how it went, and sending it again.

In place of an endpoint's id, `default` means everything that went to the `webhook_url` of requests.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api import bodies, paging, webhook_values
from api.bodies import Received
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from api.paging import After, Limit, Named, Page
from domain import ids
from domain.errors import Conflict, NotFound
from domain.webhooks import REPLAY_RATE, EventType
from storage import delivery_log, webhooks
from storage.database import Connection
from storage.delivery_log import Entry, LoggedAttempt, State
from storage.hints import DELIVER
from storage.keys import Caller


class WebhookAttempt(BaseModel):
    """One request. Without a `status_code` there was no answer; `timings_ms` are the phases that it reached."""

    at: int
    attempt: int
    duration_ms: int
    timings_ms: dict[str, int] | None
    status_code: int | None
    error: str | None
    response: str | None = Field(description="The first 16 KiB of the answer.")


class WebhookDelivery(Named):
    """One event on its way to one receiver. `id` is the event's, and the `webhook-id` of every attempt."""

    object: Literal["webhook_delivery"] = "webhook_delivery"
    webhook_endpoint_id: str
    type: EventType
    state: State
    url: str
    attempts: int
    last_status_code: int | None
    last_error: str | None
    created_at: int
    next_attempt_at: int | None
    ended_at: int | None


class WebhookDeliveryWithAttempts(WebhookDelivery):
    """The same, with what was sent and every attempt in its order."""

    event: dict[str, Any]
    log: list[WebhookAttempt]


class WebhookDeliveryList(Page[WebhookDelivery]):
    """A page of deliveries; `last_id` is the next page's `after`."""


class WebhookReplay(BaseModel):
    """How many deliveries are sent again, so many a second. `has_more`: the range held more than one call takes."""

    object: Literal["webhook_endpoint.replay"] = "webhook_endpoint.replay"
    webhook_endpoint_id: str
    scheduled: int
    per_second: float = REPLAY_RATE
    has_more: bool


router = APIRouter(prefix="/v1", tags=["webhooks"], responses=FAILURES)


@router.get("/webhook_endpoints/{webhook_endpoint_id}/deliveries")
def list_webhook_deliveries(
    served: Served,
    caller: Authenticated,
    webhook_endpoint_id: str,
    *,
    state: State | None = None,
    event_type: Annotated[EventType | None, Query(alias="type")] = None,
    after: After = None,
    limit: Limit = 20,
) -> WebhookDeliveryList:
    """A page of what went to the endpoint in the last 30 days, newest first."""
    cursor = paging.named(ids.Kind.EVENT, after)
    with served.database.transaction(caller.tenant_id) as connection:
        scope = _scope(connection, caller, webhook_endpoint_id)
        page = delivery_log.page(
            connection, caller.tenant_id, scope, state=state, event_type=event_type, after=cursor, limit=limit
        )
    data = [WebhookDelivery(**_fields(entry, scope)) for entry in page.entries]
    return WebhookDeliveryList.of(data, more=page.has_more)


@router.get("/webhook_endpoints/{webhook_endpoint_id}/deliveries/{event_id}")
def retrieve_webhook_delivery(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, event_id: str
) -> WebhookDeliveryWithAttempts:
    """One delivery: what was sent, and how each attempt went."""
    with served.database.transaction(caller.tenant_id) as connection:
        scope = _scope(connection, caller, webhook_endpoint_id)
        return _read(connection, caller, scope, event_id)


@router.post("/webhook_endpoints/{webhook_endpoint_id}/deliveries/{event_id}/resend")
def resend_webhook_delivery(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, event_id: str
) -> WebhookDeliveryWithAttempts:
    """Send the event again, under the same id and with a fresh count of attempts, even if it was delivered."""
    message_id = _known(event_id)
    with served.database.transaction(caller.tenant_id) as connection:
        scope = _scope(connection, caller, webhook_endpoint_id, to_send=True)
        delivery_log.resend(connection, caller.tenant_id, scope, message_id)
        answer = _read(connection, caller, scope, event_id)
    served.ringer.want(DELIVER)
    return answer


@router.post(
    "/webhook_endpoints/{webhook_endpoint_id}/replay",
    openapi_extra=webhook_values.json_body(webhook_values.REPLAY, "since"),
)
def replay_webhook_deliveries(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, body: Received
) -> WebhookReplay:
    """Send a range of events again under the same ids, ten a second: what failed, or all of it."""
    span = webhook_values.span(bodies.read(body))
    with served.database.transaction(caller.tenant_id) as connection:
        scope = _scope(connection, caller, webhook_endpoint_id, to_send=True)
        done = delivery_log.replay(connection, caller.tenant_id, scope, span)
    served.ringer.want(DELIVER)
    return WebhookReplay(webhook_endpoint_id=webhook_endpoint_id, scheduled=done.scheduled, has_more=done.has_more)


def _scope(connection: Connection, caller: Caller, public_id: str, *, to_send: bool = False) -> UUID | None:
    """Whose log it is; None for that of requests. Raises NotFound, and Conflict if nothing may be sent there."""
    if public_id == webhook_values.DEFAULT:
        return None
    endpoint = webhooks.find(connection, caller.tenant_id, webhook_values.known(public_id))
    if endpoint is None:
        webhook_values.not_found(public_id)
    if to_send and endpoint.disabled_at is not None:
        raise Conflict("The endpoint is disabled. Update it first.", code="webhook_endpoint_disabled")
    return endpoint.id


def _read(connection: Connection, caller: Caller, scope: UUID | None, event_id: str) -> WebhookDeliveryWithAttempts:
    entry = delivery_log.find(connection, caller.tenant_id, scope, _known(event_id))
    if entry is None:
        raise _missing(event_id)
    log = [_attempt(each) for each in delivery_log.attempts_of(connection, caller.tenant_id, entry)]
    return WebhookDeliveryWithAttempts(**_fields(entry, scope), event=entry.event, log=log)


def _known(event_id: str) -> UUID:
    try:
        return ids.parse(ids.Kind.EVENT, event_id)
    except ids.InvalidId:
        raise _missing(event_id) from None


def _missing(event_id: str) -> NotFound:
    message = f"Webhook delivery with id '{event_id[:64]}' not found."
    return NotFound(message, param="event_id", code="webhook_delivery_not_found")


def _fields(entry: Entry, scope: UUID | None) -> dict[str, Any]:
    of_endpoint = ids.public(ids.Kind.WEBHOOK_ENDPOINT, entry.endpoint_id)
    return {
        "id": ids.public(ids.Kind.EVENT, entry.message_id),
        "webhook_endpoint_id": webhook_values.DEFAULT if scope is None else of_endpoint,
        "type": entry.type,
        "state": entry.state,
        "url": entry.url,
        "attempts": entry.attempts,
        "last_status_code": entry.last_status,
        "last_error": entry.last_error,
        "created_at": int(entry.created_at.timestamp()),
        "next_attempt_at": _seconds(entry.next_at),
        "ended_at": _seconds(entry.ended_at),
    }


def _attempt(attempt: LoggedAttempt) -> WebhookAttempt:
    return WebhookAttempt(
        at=int(attempt.at.timestamp()),
        attempt=attempt.attempt,
        duration_ms=attempt.duration_ms,
        timings_ms=attempt.timings,
        status_code=attempt.status,
        error=attempt.error,
        response=attempt.response,
    )


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
