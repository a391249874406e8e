"""Webhooks as OpenAI sends them: Standard Webhooks signatures (v1, HMAC-SHA256), thin payloads."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from domain import ids
from domain.lifecycle import TERMINAL, State

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix of the standard, not a secret
MAX_SECRETS = 4  # of one endpoint that sign at the same time
MIN_OVERLAP = timedelta(minutes=1)
MAX_OVERLAP = timedelta(days=7)

CONCURRENCY = 4  # requests to one endpoint that are under way at once, unless it asks for another number
MAX_CONCURRENCY = 16
MIN_RATE, MAX_RATE = 0.01, 1_000.0  # deliveries a second

PROGRESS_SECONDS = 5.0  # between two announcements of one video's progress
REPLAY_RATE = 10.0  # messages a second that a replay adds to what an endpoint gets anyway
REPLAY_LIMIT = 10_000  # messages of one replay
LOG_DAYS = 30  # messages and their attempts are kept


class EventType(StrEnum):
    """What an endpoint can subscribe to."""

    VIDEO_QUEUED = "video.queued"  # allowed; waits for a renderer
    VIDEO_STARTED = "video.started"  # a renderer took it
    VIDEO_PROGRESS = "video.progress"  # at most every PROGRESS_SECONDS
    VIDEO_COMPLETED = "video.completed"
    VIDEO_FAILED = "video.failed"  # every other end, cancelled and blocked ones too
    VIDEO_CANCELLED = "video.cancelled"  # beside video.failed
    VIDEO_BLOCKED = "video.blocked"  # beside video.failed
    BATCH_COMPLETED = "batch.completed"
    BATCH_FAILED = "batch.failed"
    BATCH_EXPIRED = "batch.expired"
    BATCH_CANCELLED = "batch.cancelled"
    ENDPOINT_DISABLED = "webhook_endpoint.disabled"  # another endpoint of the tenant gets nothing any more
    PING = "webhook.ping"  # sent by tests only


# Exactly one of these per video: a unique index in the database says the same.
ENDS = frozenset({EventType.VIDEO_COMPLETED, EventType.VIDEO_FAILED})
_BESIDE = {State.CANCELLED: EventType.VIDEO_CANCELLED, State.BLOCKED: EventType.VIDEO_BLOCKED}
_KINDS = {"video": ids.Kind.VIDEO, "batch": ids.Kind.BATCH}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an endpoint wants to be served: deliveries a second (None: as fast as it answers) and at once."""

    rate: float | None = None
    concurrency: int = CONCURRENCY


def event_for(state: State) -> EventType | None:
    """The one message that the end of a video sends; None while it lives."""
    if state not in TERMINAL:
        return None
    return EventType.VIDEO_COMPLETED if state is State.COMPLETED else EventType.VIDEO_FAILED


def events_on(state: State) -> tuple[EventType, ...]:
    """All that reaching the state announces, in order. The end comes last, so that no later number outdates it."""
    first = (EventType.VIDEO_QUEUED,) if state is State.QUEUED else ()
    beside = (_BESIDE[state],) if state in _BESIDE else ()
    end = event_for(state)
    return (*first, *beside, *(() if end is None else (end,)))


def payload(event_id: UUID, event_type: EventType, created_at: int, data: Mapping[str, Any]) -> bytes:
    """The exact bytes that are signed and sent. `data` has the public id of what the event is about, and little else.

    `created_at` is in Unix seconds.
    """
    body = {
        "id": ids.public(ids.Kind.EVENT, event_id),
        "object": "event",
        "created_at": created_at,
        "type": event_type,
        "data": dict(data),
    }
    return json.dumps(body, separators=(",", ":")).encode()


def sample(event_type: EventType) -> dict[str, Any]:
    """The data of a test event: an id of the right kind that names nothing, and a number where videos have one."""
    kind = _KINDS.get(event_type.partition(".")[0], ids.Kind.WEBHOOK_ENDPOINT)
    data: dict[str, Any] = {"id": ids.public(kind, ids.new_id())}
    return {**data, "sequence": 1} if kind is ids.Kind.VIDEO else data


def new_secret() -> str:
    """``whsec_`` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(message_id: str, timestamp: int, body: bytes, signing_secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of the standard; one signature per secret, so that secrets can overlap."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (_signature(secret, signed) for secret in signing_secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
