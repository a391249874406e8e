"""/v1/webhook_endpoints: where a tenant wants its events sent, as `client.webhooks` of OpenAI's SDK manages it."""

from __future__ import annotations

from collections.abc import Container
from datetime import timedelta
from typing import Annotated, Any, Literal, NoReturn, cast
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api import bodies
from api.bodies import Received
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from api.parameters import one_of, wrong_type
from domain import ids
from domain.errors import InvalidRequest, NotFound
from domain.targets import MAX_URL, Refusal, parse_target
from domain.webhooks import EventType
from storage import webhooks
from storage.webhooks import Changes, Endpoint

NAME_LIMIT = 256
ENDPOINT = "/webhook_endpoints/{webhook_endpoint_id}"
_KEEP = "keep_old_secret_active_for_24_hours"


class WebhookEndpoint(BaseModel):
    """OpenAI's object. `disabled_at` is ours: the receiver answered 410, and nothing is sent until an update."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[EventType]
    created_at: int
    updated_at: int
    signing_secret_hint: str
    disabled_at: int | None


class WebhookEndpointWithSecret(WebhookEndpoint):
    """The only answer that holds the secret."""

    signing_secret: str


class WebhookEndpointList(BaseModel):
    """A page of endpoints; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedWebhookEndpoint(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class WebhookEventTypeList(BaseModel):
    """What can be subscribed to."""

    object: Literal["list"] = "list"
    data: list[EventType]


def _json_body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_PROPERTIES: dict[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT},
    "url": {"type": "string", "maxLength": MAX_URL, "description": "https, to a public host."},
    "event_types": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(EventType)}},
}

router = APIRouter(prefix="/v1", tags=["webhooks"], responses=FAILURES)


@router.post("/webhook_endpoints", openapi_extra=_json_body(_PROPERTIES, list(_PROPERTIES)))
def create_webhook_endpoint(served: Served, caller: Authenticated, body: Received) -> WebhookEndpointWithSecret:
    """Subscribe a URL to event types. `signing_secret` is shown here and never again."""
    wanted = _changes(served, bodies.read(body))
    for param in _PROPERTIES:
        if getattr(wanted, param) is None:
            raise InvalidRequest(
                f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
            )
    with served.database.transaction(caller.tenant_id) as connection:
        endpoint, secret = webhooks.create(
            connection,
            caller.tenant_id,
            name=wanted.name or "",
            url=wanted.url or "",
            event_types=wanted.event_types or (),
            keys=served.settings.webhook_keys,
        )
    return WebhookEndpointWithSecret(**_fields(endpoint), signing_secret=secret)


@router.get("/webhook_endpoints")
def list_webhook_endpoints(
    served: Served,
    caller: Authenticated,
    after: Annotated[str | None, Query(description="The id that the page follows.")] = None,
    limit: Annotated[int, Query(ge=0, le=100)] = 20,
) -> WebhookEndpointList:
    """A page of the caller's endpoints, newest first."""
    cursor = _cursor(after)
    with served.database.transaction(caller.tenant_id) as connection:
        page = webhooks.page(connection, caller.tenant_id, after=cursor, limit=limit)
    data = [_shown(endpoint) for endpoint in page.endpoints]
    return WebhookEndpointList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@router.get(ENDPOINT)
def retrieve_webhook_endpoint(served: Served, caller: Authenticated, webhook_endpoint_id: str) -> WebhookEndpoint:
    """One endpoint, without its secret."""
    endpoint_id = _known(webhook_endpoint_id)
    with served.database.transaction(caller.tenant_id) as connection:
        endpoint = webhooks.find(connection, caller.tenant_id, endpoint_id)
    return _shown(endpoint or _not_found(webhook_endpoint_id))


@router.post(ENDPOINT, openapi_extra=_json_body(_PROPERTIES, []))
def update_webhook_endpoint(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, body: Received
) -> WebhookEndpoint:
    """Change what is named, keep the rest. An endpoint that was disabled is switched on again."""
    endpoint_id = _known(webhook_endpoint_id)
    changes = _changes(served, bodies.read(body))
    with served.database.transaction(caller.tenant_id) as connection:
        endpoint = webhooks.update(connection, caller.tenant_id, endpoint_id, changes)
    return _shown(endpoint or _not_found(webhook_endpoint_id))


@router.delete(ENDPOINT)
def delete_webhook_endpoint(served: Served, caller: Authenticated, webhook_endpoint_id: str) -> DeletedWebhookEndpoint:
    """Send nothing more to the endpoint; what waits for it is dropped."""
    endpoint_id = _known(webhook_endpoint_id)
    with served.database.transaction(caller.tenant_id) as connection:
        if not webhooks.delete(connection, caller.tenant_id, endpoint_id):
            _not_found(webhook_endpoint_id)
    return DeletedWebhookEndpoint(id=webhook_endpoint_id)


@router.post(ENDPOINT + "/rotate_secret", openapi_extra=_json_body({_KEEP: {"type": "boolean", "default": False}}, []))
def rotate_webhook_endpoint_secret(
    served: Served, caller: Authenticated, webhook_endpoint_id: str, body: Received
) -> WebhookEndpointWithSecret:
    """A new signing secret. The old one ends at once, or signs beside it for a day if that is asked for."""
    endpoint_id, values = _known(webhook_endpoint_id), bodies.read(body)
    _refuse_others(values, {_KEEP})
    keep = values.get(_KEEP, False)
    if not isinstance(keep, bool):
        wrong_type(_KEEP, "a boolean", keep)
    overlap = timedelta(days=1 if keep else 0)
    with served.database.transaction(caller.tenant_id) as connection:
        keys = served.settings.webhook_keys
        rotated = webhooks.rotate_secret(connection, caller.tenant_id, endpoint_id, keys, overlap)
    endpoint, secret = rotated or _not_found(webhook_endpoint_id)
    return WebhookEndpointWithSecret(**_fields(endpoint), signing_secret=secret)


@router.get("/webhook_event_types")
def list_webhook_event_types(_caller: Authenticated) -> WebhookEventTypeList:
    """What an endpoint can subscribe to."""
    return WebhookEventTypeList(data=list(EventType))


def _changes(served: Served, values: dict[str, Any]) -> Changes:
    """What the body sets, each value checked. Raises InvalidRequest."""
    _refuse_others(values, _PROPERTIES)
    return Changes(
        name=_name(values["name"]) if "name" in values else None,
        url=_url(served, values["url"]) if "url" in values else None,
        event_types=_event_types(values["event_types"]) if "event_types" in values else None,
    )


def _cursor(after: str | None) -> UUID | None:
    if not after:
        return None
    try:
        return ids.parse(ids.Kind.WEBHOOK_ENDPOINT, after)
    except ids.InvalidId:
        raise InvalidRequest("'after' must be the id of a webhook endpoint.", param="after") from None


def _refuse_others(values: dict[str, Any], taken: Container[str]) -> None:
    for name in values:
        if name not in taken:
            raise InvalidRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")


def _name(value: Any) -> str:
    if not isinstance(value, str):
        wrong_type("name", "a string", value)
    if not 1 <= len(value) <= NAME_LIMIT:
        raise InvalidRequest(f"Invalid 'name': it must have 1 to {NAME_LIMIT} characters.", param="name")
    return value


def _url(served: Served, value: Any) -> str:
    """The text alone is judged here; what the host resolves to, at every delivery."""
    if not isinstance(value, str):
        wrong_type("url", "a string", value)
    target = parse_target(value, allow_loopback=served.settings.webhook_allow_loopback)
    if isinstance(target, Refusal):
        raise InvalidRequest(f"Invalid 'url': {target.reason}", param="url")
    return value


def _event_types(value: Any) -> tuple[EventType, ...]:
    if not isinstance(value, list):
        wrong_type("event_types", "an array", value)
    if not value:
        raise InvalidRequest("Invalid 'event_types': it must name at least one event type.", param="event_types")
    names = cast("list[Any]", value)
    for name in names:
        if not isinstance(name, str):
            wrong_type("event_types", "an array of strings", name)
    return tuple(dict.fromkeys(EventType(one_of("event_types", name, list(EventType))) for name in names))


def _known(public_id: str) -> UUID:
    try:
        return ids.parse(ids.Kind.WEBHOOK_ENDPOINT, public_id)
    except ids.InvalidId:
        _not_found(public_id)


def _not_found(public_id: str) -> NoReturn:
    raise NotFound(
        f"Webhook endpoint with id '{public_id[:64]}' not found.",
        param="webhook_endpoint_id",
        code="webhook_endpoint_not_found",
    )


def _shown(endpoint: Endpoint) -> WebhookEndpoint:
    return WebhookEndpoint(**_fields(endpoint))


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": ids.public(ids.Kind.WEBHOOK_ENDPOINT, endpoint.id),
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "created_at": int(endpoint.created_at.timestamp()),
        "updated_at": int(endpoint.updated_at.timestamp()),
        "signing_secret_hint": endpoint.secret_hint,
        "disabled_at": None if endpoint.disabled_at is None else int(endpoint.disabled_at.timestamp()),
    }
