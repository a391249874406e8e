from __future__ import annotations

import base64
import json
import time
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
from openai import InvalidWebhookSignatureError, OpenAI

from domain.ids import Kind, new_id, parse
from domain.lifecycle import State
from domain.webhooks import EventType, event_for, headers, new_secret, payload

EVENT = new_id()
VIDEO = new_id()
BODY = payload(EVENT, EventType.VIDEO_COMPLETED, 1_700_000_000, {"id": f"video_{VIDEO.hex}"})
client = OpenAI(api_key="unused", base_url="http://127.0.0.1:1/v1")


def signed(secrets: list[str], *, at: float = 0, body: bytes = BODY) -> dict[str, str]:
    return headers(f"evt_{EVENT.hex}", int(time.time() + at), body, secrets)


def unwrap(body: bytes, sent: dict[str, str], secret: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client knows no class for video events; fields are what counts
        return client.webhooks.unwrap(body, sent, secret=secret)


def test_the_payload_is_openais_thin_one() -> None:
    event = json.loads(BODY)
    assert event == {
        "id": f"evt_{EVENT.hex}",
        "object": "event",
        "created_at": 1_700_000_000,
        "type": "video.completed",
        "data": {"id": f"video_{VIDEO.hex}"},
    }
    assert parse(Kind.VIDEO, event["data"]["id"]) == VIDEO


def test_every_end_has_one_event_and_nothing_else_has_any() -> None:
    assert event_for(State.COMPLETED) is EventType.VIDEO_COMPLETED
    assert {event_for(s) for s in (State.FAILED, State.CANCELLED, State.BLOCKED, State.EXPIRED)} == {
        EventType.VIDEO_FAILED
    }
    assert event_for(State.RENDERING) is None


def test_the_openai_client_unwraps_what_is_signed() -> None:
    secret = new_secret()
    event = unwrap(BODY, signed([secret]), secret)
    assert event.type == "video.completed"
    assert event.data.id == f"video_{VIDEO.hex}"
    assert event.id == f"evt_{EVENT.hex}"


def test_the_reference_library_verifies_what_is_signed() -> None:
    secret = new_secret()
    assert standardwebhooks.Webhook(secret).verify(BODY, signed([secret])) == json.loads(BODY)


def test_the_signature_is_the_reference_librarys_own() -> None:
    secret, at = new_secret(), datetime.now(UTC)
    ours = headers("evt_1", int(at.timestamp()), BODY, [secret])
    assert ours["webhook-signature"] == standardwebhooks.Webhook(secret).sign("evt_1", at, BODY.decode())


def test_while_secrets_overlap_either_verifies() -> None:
    old, new = new_secret(), new_secret()
    sent = signed([new, old])
    for secret in (old, new):
        assert unwrap(BODY, sent, secret).type == "video.completed"
        standardwebhooks.Webhook(secret).verify(BODY, sent)


def test_another_secret_does_not_verify() -> None:
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(BODY, signed([new_secret()]), new_secret())


def test_a_changed_body_does_not_verify() -> None:
    secret = new_secret()
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(BODY.replace(b"completed", b"failed"), signed([secret]), secret)


def test_a_changed_id_does_not_verify() -> None:
    secret = new_secret()
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(BODY, signed([secret]) | {"webhook-id": "evt_other"}, secret)


@pytest.mark.parametrize("at", [-301, 302])
def test_a_signature_from_another_time_does_not_verify(at: int) -> None:
    secret = new_secret()
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(BODY, signed([secret], at=at), secret)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(BODY, signed([secret], at=at))


def test_secrets_are_32_random_bytes_under_the_public_prefix() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(s.startswith("whsec_") and len(base64.b64decode(s[6:])) == 32 for s in secrets)
