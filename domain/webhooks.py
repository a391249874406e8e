"""Webhooks as OpenAI sends them: Standard Webhooks signatures (v1, HMAC-SHA256), thin payloads."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from domain import ids
from domain.lifecycle import TERMINAL, State

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix of the standard, not a secret


class EventType(StrEnum):
    """What an endpoint can subscribe to."""

    VIDEO_COMPLETED = "video.completed"
    VIDEO_FAILED = "video.failed"


def event_for(state: State) -> EventType | None:
    """The one message that the end of a video sends; None while it lives."""
    if state not in TERMINAL:
        return None
    return EventType.VIDEO_COMPLETED if state is State.COMPLETED else EventType.VIDEO_FAILED


def payload(event_id: UUID, event_type: EventType, created_at: int, video_id: UUID) -> bytes:
    """The exact bytes that are signed and sent; a receiver fetches the video by its id."""
    body = {
        "id": ids.public(ids.Kind.EVENT, event_id),
        "object": "event",
        "created_at": created_at,
        "type": event_type,
        "data": {"id": ids.public(ids.Kind.VIDEO, video_id)},
    }
    return json.dumps(body, separators=(",", ":")).encode()


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
