"""What bodies and paths of webhook calls say, each value checked. Everything raises InvalidRequest or NotFound."""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, cast
from uuid import UUID

from api.parameters import one_of, wrong_type
from api.services import Services
from domain import ids
from domain.errors import InvalidRequest, NotFound
from domain.targets import MAX_URL, Refusal, parse_target
from domain.webhooks import MAX_CONCURRENCY, MAX_OVERLAP, MAX_RATE, MIN_OVERLAP, MIN_RATE, EventType
from storage.delivery_log import Span, State
from storage.webhooks import Changes

NAME_LIMIT = 256
DEFAULT = "default"  # in place of an id: all that requests name by `webhook_url`
KEEP = "keep_old_secret_active_for_24_hours"
OVERLAP = "overlap_seconds"
_LATEST = 4_102_444_800  # the year 2100, in Unix seconds
_REPLAYED: dict[str, tuple[State, ...]] = {
    "failed": ("failed", "cancelled"),
    "all": ("delivered", "failed", "cancelled"),
}

TYPES: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(EventType)}}
REQUIRED: dict[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT},
    "url": {"type": "string", "maxLength": MAX_URL, "description": "https, to a public host."},
    "event_types": TYPES,
}
ENDPOINT: dict[str, Any] = {
    **REQUIRED,
    "rate": {
        "type": "number",
        "anyOf": [{"enum": [0]}, {"minimum": MIN_RATE, "maximum": MAX_RATE}],
        "description": "Deliveries a second, at most. 0: no limit.",
    },
    "concurrency": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_CONCURRENCY,
        "description": "Requests that are under way at once, at most.",
    },
}
ROTATION: dict[str, Any] = {
    KEEP: {"type": "boolean", "default": False},
    OVERLAP: {
        "type": "integer",
        "minimum": MIN_OVERLAP.total_seconds(),
        "maximum": MAX_OVERLAP.total_seconds(),
        "description": f"How long the old secret signs beside the new one; in place of {KEEP}.",
    },
}
TEST: dict[str, Any] = {"event_type": {"type": "string", "enum": list(EventType)}}
_TIME: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": _LATEST}
REPLAY: dict[str, Any] = {
    "since": {**_TIME, "description": "Unix seconds; events of that second and later."},
    "until": {**_TIME, "description": "Unix seconds; events before it. The default is now."},
    "state": {
        "type": "string",
        "enum": list(_REPLAYED),
        "default": "failed",
        "description": "failed: what was given up or dropped; all: what arrived too.",
    },
    "types": TYPES,
}


def json_body(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """The request body of a call, for the OpenAPI document."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def changes(served: Services, values: dict[str, Any]) -> Changes:
    """What the body sets of an endpoint."""
    refuse_others(values, ENDPOINT)
    return Changes(
        name=_name(values["name"]) if "name" in values else None,
        url=_url(served, values["url"]) if "url" in values else None,
        event_types=_types("event_types", values["event_types"]) if "event_types" in values else None,
        rate=_rate(values["rate"]) if "rate" in values else None,
        concurrency=_whole("concurrency", values["concurrency"], 1, MAX_CONCURRENCY)
        if "concurrency" in values
        else None,
    )


def overlap(values: dict[str, Any]) -> timedelta:
    """How long the old secret goes on signing: not at all unless asked."""
    refuse_others(values, ROTATION)
    keep = values.get(KEEP, False)
    if not isinstance(keep, bool):
        wrong_type(KEEP, "a boolean", keep)
    if OVERLAP not in values:
        return timedelta(days=1 if keep else 0)
    if keep:
        raise InvalidRequest(f"'{OVERLAP}' and '{KEEP}' exclude each other.", param=OVERLAP)
    least, most = int(MIN_OVERLAP.total_seconds()), int(MAX_OVERLAP.total_seconds())
    return timedelta(seconds=_whole(OVERLAP, values[OVERLAP], least, most))


def tested(values: dict[str, Any]) -> EventType:
    """The event type that a test sends."""
    refuse_others(values, TEST)
    require(values, "event_type")
    value = values["event_type"]
    if not isinstance(value, str):
        wrong_type("event_type", "a string", value)
    return EventType(one_of("event_type", value, list(EventType)))


def span(values: dict[str, Any]) -> Span:
    """What a replay covers."""
    refuse_others(values, REPLAY)
    require(values, "since")
    state = values.get("state", "failed")
    if not isinstance(state, str):
        wrong_type("state", "a string", state)
    since, until = _time("since", values["since"]), datetime.now(UTC) + timedelta(seconds=1)
    until = _time("until", values["until"]) if "until" in values else until
    if since >= until:
        raise InvalidRequest("'since' must be earlier than 'until', or than now.", param="since")
    types = _types("types", values["types"]) if "types" in values else ()
    return Span(since, until, _REPLAYED[one_of("state", state, list(_REPLAYED))], types)


def known(public_id: str) -> UUID:
    """The endpoint's id inside."""
    try:
        return ids.parse(ids.Kind.WEBHOOK_ENDPOINT, public_id)
    except ids.InvalidId:
        not_found(public_id)


def not_found(public_id: str) -> NoReturn:
    """There is no such endpoint, or it is somebody else's."""
    raise NotFound(
        f"Webhook endpoint with id '{public_id[:64]}' not found.",
        param="webhook_endpoint_id",
        code="webhook_endpoint_not_found",
    )


def require(values: dict[str, Any], *names: str) -> None:
    """All of these are there."""
    for name in names:
        if name not in values:
            raise InvalidRequest(
                f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
            )


def refuse_others(values: dict[str, Any], taken: Container[str]) -> None:
    """Nothing is ignored."""
    for name in values:
        if name not in taken:
            raise InvalidRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")


def _name(value: Any) -> str:
    if not isinstance(value, str):
        wrong_type("name", "a string", value)
    if not 1 <= len(value) <= NAME_LIMIT:
        raise InvalidRequest(f"Invalid 'name': it must have 1 to {NAME_LIMIT} characters.", param="name")
    return value


def _url(served: Services, value: Any) -> str:
    """The text alone is judged here; what the host resolves to, at every delivery."""
    if not isinstance(value, str):
        wrong_type("url", "a string", value)
    target = parse_target(value, allow_loopback=served.settings.webhook_allow_loopback)
    if isinstance(target, Refusal):
        raise InvalidRequest(f"Invalid 'url': {target.reason}", param="url")
    return value


def _types(param: str, value: Any) -> tuple[EventType, ...]:
    if not isinstance(value, list):
        wrong_type(param, "an array", value)
    if not value:
        raise InvalidRequest(f"Invalid '{param}': it must name at least one event type.", param=param)
    names = cast("list[Any]", value)
    for name in names:
        if not isinstance(name, str):
            wrong_type(param, "an array of strings", name)
    return tuple(dict.fromkeys(EventType(one_of(param, name, list(EventType))) for name in names))


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        wrong_type("rate", "a number", value)
    if value != 0 and not MIN_RATE <= value <= MAX_RATE:
        raise InvalidRequest(f"Invalid 'rate': it must be 0, or between {MIN_RATE} and {MAX_RATE:g}.", param="rate")
    return float(value)


def _whole(param: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        wrong_type(param, "an integer", value)
    if not least <= value <= most:
        raise InvalidRequest(f"Invalid '{param}': it must be between {least} and {most}.", param=param)
    return value


def _time(param: str, value: Any) -> datetime:
    return datetime.fromtimestamp(_whole(param, value, 0, _LATEST), UTC)
