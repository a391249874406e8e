"""Lines 18 and 19: webhooks as a receiver verifies them, and the endpoints that they go to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import openai

from tests.fixtures.receiver import Receiver, receiver
from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, Stage, expect

PATH = "/webhook_endpoints"
BOTH = ["video.completed", "video.failed"]


class Endpoints:
    """`client.webhooks` of openai 3, and the same requests by hand for openai 2, which can only verify."""

    def __init__(self, client: Any) -> None:
        self._client, self._native = client, hasattr(client.webhooks, "create")

    def create(self, **values: Any) -> Any:
        return self._do("create", lambda: self._client.post(PATH, body=values, cast_to=object), **values)

    def retrieve(self, endpoint: str) -> Any:
        return self._do("retrieve", lambda: self._client.get(f"{PATH}/{endpoint}", cast_to=object), endpoint)

    def update(self, endpoint: str, **values: Any) -> Any:
        by_hand = self._posting(endpoint, "", values)
        return self._do("update", by_hand, endpoint, **values)

    def rotate_secret(self, endpoint: str, **values: Any) -> Any:
        return self._do("rotate_secret", self._posting(endpoint, "/rotate_secret", values), endpoint, **values)

    def test(self, endpoint: str, **values: Any) -> Any:
        return self._do("test", self._posting(endpoint, "/test", values), endpoint, **values)

    def delete(self, endpoint: str) -> Any:
        return self._do("delete", lambda: self._client.delete(f"{PATH}/{endpoint}", cast_to=object), endpoint)

    def list(self, limit: int) -> list[str]:
        """The ids of all, over as many pages as it takes."""
        if self._native:
            return [endpoint.id for endpoint in self._client.webhooks.list(limit=limit)]
        ids: list[str] = []
        more = True
        while more:
            after = f"&after={ids[-1]}" if ids else ""
            page = self._client.get(f"{PATH}?limit={limit}{after}", cast_to=object)
            ids, more = [*ids, *(each["id"] for each in page["data"])], page["has_more"]
        return ids

    def event_types(self) -> list[str]:
        if self._native:
            return self._client.webhooks.event_types.list().data
        return self._client.get("/webhook_event_types", cast_to=object)["data"]

    def _posting(self, endpoint: str, action: str, values: dict[str, Any]) -> Callable[[], Any]:
        return lambda: self._client.post(f"{PATH}/{endpoint}{action}", body=values, cast_to=object)

    def _do(self, method: str, by_hand: Callable[[], Any], /, *arguments: Any, **values: Any) -> Any:
        if self._native:
            return getattr(self._client.webhooks, method)(*arguments, **values)
        return SimpleNamespace(**by_hand())


@contextmanager
def listening(client: Any, *answers: Any) -> Iterator[tuple[Receiver, Any]]:
    """A receiver with an endpoint of its own."""
    with receiver(*answers) as inbox:
        endpoint = Endpoints(client).create(name="conformance", url=inbox.url(), event_types=BOTH)
        yield inbox, endpoint
        Endpoints(client).delete(endpoint.id)


def happen(client: Any) -> str:
    """A video that ends at once, and so sends `video.failed`; its id."""
    video = client.videos.create(**BARS, extra_body={"steps": 1500})
    client.post(f"/videos/{video.id}/cancel", cast_to=object)
    client.videos.delete(video.id)
    return video.id


def delivered(inbox: Receiver, count: int, within: float = 20) -> Any:
    """The request that brings the count up to so many."""
    begun = time.monotonic()
    while len(inbox.requests) < count:
        assert time.monotonic() - begun < within, f"{len(inbox.requests)} of {count} webhooks came"
        time.sleep(0.05)
    return inbox.requests[count - 1]


@line(18)
def a_signed_event_unwraps_and_a_forged_or_stale_one_does_not(stage: Stage) -> None:
    client = stage.client("hooked")
    with listening(client) as (inbox, endpoint):
        video_id = happen(client)
        came = delivered(inbox, 1)
    secret = endpoint.signing_secret
    event = client.webhooks.unwrap(came.body, came.headers, secret=secret)
    assert (event.object, event.type, event.data.id) == ("event", "video.failed", video_id)
    assert event.id == came.headers["webhook-id"]
    refused = openai.InvalidWebhookSignatureError
    forged = came.body.replace(b"video.failed", b"video.queued")
    expect(refused, lambda: client.webhooks.unwrap(forged, came.headers, secret=secret))
    expect(refused, lambda: client.webhooks.unwrap(came.body, came.headers, secret="whsec_c29tZWJvZHkgZWxzZQ=="))
    unsigned = {name: value for name, value in came.headers.items() if name != "webhook-signature"}
    expect(ValueError, lambda: client.webhooks.unwrap(came.body, unsigned, secret=secret))
    time.sleep(max(0.0, int(came.headers["webhook-timestamp"]) + 2.1 - time.time()))
    client.webhooks.verify_signature(came.body, came.headers, secret=secret)
    stale = expect(
        refused, lambda: client.webhooks.verify_signature(came.body, came.headers, secret=secret, tolerance=1)
    )
    assert "too old" in str(stale)


@line(18)
def a_rotated_secret_overlaps_when_asked_to(stage: Stage) -> None:
    client = stage.client("hooked")
    with listening(client) as (inbox, endpoint):
        second = Endpoints(client).rotate_secret(endpoint.id, keep_old_secret_active_for_24_hours=True).signing_secret
        happen(client)
        came = delivered(inbox, 1)
        for secret in (endpoint.signing_secret, second):
            client.webhooks.unwrap(came.body, came.headers, secret=secret)
        third = Endpoints(client).rotate_secret(endpoint.id).signing_secret
        happen(client)
        came = delivered(inbox, 2)
        client.webhooks.unwrap(came.body, came.headers, secret=third)
        for secret in (endpoint.signing_secret, second):
            expect(
                openai.InvalidWebhookSignatureError,
                lambda secret=secret: client.webhooks.unwrap(came.body, came.headers, secret=secret),
            )


@line(18)
def a_redelivery_keeps_its_id_and_is_signed_afresh(stage: Stage) -> None:
    client = stage.client("hooked")
    with listening(client, (500, {}, b"not now")) as (inbox, endpoint):
        happen(client)
        delivered(inbox, 2)
    first, again = inbox.requests
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert int(again.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    for came in (first, again):
        client.webhooks.unwrap(came.body, came.headers, secret=endpoint.signing_secret)


@line(19)
def endpoints_are_managed_by_the_same_client(stage: Stage) -> None:
    endpoints = Endpoints(stage.client("hooked"))
    with receiver() as inbox:
        made = [endpoints.create(name=f"e{number}", url=inbox.url(), event_types=BOTH) for number in range(3)]
        ids = [endpoint.id for endpoint in made]
        assert endpoints.list(limit=2) == ids[::-1]
        assert made[0].signing_secret.startswith("whsec_")
        changed = endpoints.update(ids[0], name="renamed", event_types=["video.failed"])
        assert (changed.name, changed.url, changed.event_types) == ("renamed", inbox.url(), ["video.failed"])
        read = endpoints.retrieve(ids[0])
        assert (read.object, read.name) == ("webhook_endpoint", "renamed")
        assert not hasattr(read, "signing_secret")
        assert read.signing_secret_hint[-4:] == made[0].signing_secret[-4:]
        assert set(BOTH) <= set(endpoints.event_types())
        _test_event(endpoints, inbox, made[1])
        for endpoint in ids:
            gone = endpoints.delete(endpoint)
            assert (gone.id, gone.object, gone.deleted) == (endpoint, "webhook_endpoint.deleted", True)
            expect(openai.NotFoundError, lambda endpoint=endpoint: endpoints.retrieve(endpoint))
        assert endpoints.list(limit=2) == []


def _test_event(endpoints: Endpoints, inbox: Receiver, endpoint: Any) -> None:
    tested = endpoints.test(endpoint.id, event_type="video.completed")
    assert (tested.object, tested.webhook_endpoint_id) == ("webhook_endpoint.test", endpoint.id)
    assert (tested.event_type, tested.status_code, tested.success) == ("video.completed", 200, True)
    came = delivered(inbox, 1)
    event = openai.OpenAI(api_key="none").webhooks.unwrap(came.body, came.headers, secret=endpoint.signing_secret)
    assert event.type == "video.completed"
