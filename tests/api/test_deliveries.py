"""The log of deliveries, sending again, tests and the default secret, through a real receiver."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa
import standardwebhooks
from fastapi.testclient import TestClient
from openai import BadRequestError, ConflictError, NotFoundError, OpenAI

from api.app import create_app
from domain.deliveries import ErrorClass
from domain.webhooks import EventType
from runtime.egress import Egress, Unfetched
from runtime.settings import Settings
from storage.database import Database
from tests.api.conftest import BASE, Tenant
from tests.fixtures.receiver import Receiver, raw_server, receiver
from worker.webhooks import deliver_due


@dataclass(frozen=True)
class Home:
    """An application that lets loopback through, its client, a receiver, and deliveries by hand."""

    app: TestClient
    client: OpenAI
    database: Database
    settings: Settings
    there: Receiver

    def register(self, *event_types: str, **extra: Any) -> Any:
        types = event_types or ("video.failed",)
        return self.client.webhooks.create(name="n", url=self.there.url(), event_types=types, extra_body=extra or None)

    def fail_a_video(self, **extra: Any) -> str:
        video = self.client.videos.create(prompt="a red ball", extra_body=extra or None)
        self.client.post(f"/videos/{video.id}/cancel", cast_to=object)
        return video.id

    def deliver(self) -> int:
        return deliver_due(self.database, self.settings.webhook_keys, allow_loopback=True, total_seconds=5.0)

    def get(self, path: str) -> Any:
        return self.client.get(path, cast_to=object)

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, cast_to=object, body=body)


@pytest.fixture
def home(settings: Settings, database: Database, tenant: Tenant) -> Iterator[Home]:
    local = replace(settings, webhook_allow_loopback=True)
    with database.transaction_for_any_tenant() as connection:  # the database is shared: others' leftovers rest
        connection.execute(sa.text("UPDATE webhook_deliveries SET state = 'cancelled' WHERE state = 'pending'"))
    with TestClient(create_app(local)) as app, receiver() as there:
        client = OpenAI(
            api_key=tenant.key, base_url=BASE, http_client=app, max_retries=0, _strict_response_validation=True
        )
        yield Home(app, client, database, local, there)


def unwrap(home: Home, number: int, secret: str) -> Any:
    request = home.there.requests[number]
    standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client knows no class for video events; fields are what counts
        return home.client.webhooks.unwrap(request.body, request.headers, secret=secret)


def test_a_delivery_shows_its_event_and_every_attempt(home: Home) -> None:
    endpoint = home.register()
    home.there.answers.append((500, {}, b"broken"))
    video = home.fail_a_video()
    assert home.deliver() == 1
    [delivery] = home.get(f"/webhook_endpoints/{endpoint.id}/deliveries")["data"]
    assert delivery["object"] == "webhook_delivery"
    assert (delivery["webhook_endpoint_id"], delivery["type"]) == (endpoint.id, "video.failed")
    assert (delivery["state"], delivery["attempts"], delivery["ended_at"]) == ("pending", 1, None)
    assert (delivery["last_status_code"], delivery["last_error"]) == (500, "E_HTTP")
    assert 0 < delivery["next_attempt_at"] - time.time() < 7
    whole = home.get(f"/webhook_endpoints/{endpoint.id}/deliveries/{delivery['id']}")
    assert whole["event"] == json.loads(home.there.requests[0].body)
    assert whole["event"]["data"] == {"id": video, "sequence": 1}
    [attempt] = whole["log"]
    assert (attempt["attempt"], attempt["status_code"], attempt["error"]) == (1, 500, "E_HTTP")
    assert attempt["response"] == "broken"
    assert set(attempt["timings_ms"]) == {"dns", "connect", "first_byte"}


def test_a_page_can_be_filtered_and_turned(home: Home) -> None:
    endpoint = home.register("video.failed", "video.cancelled")
    home.fail_a_video()
    path = f"/webhook_endpoints/{endpoint.id}/deliveries"
    both = home.get(path)
    assert [entry["type"] for entry in both["data"]] == ["video.failed", "video.cancelled"], "newest first"
    assert (both["first_id"], both["last_id"]) == (both["data"][0]["id"], both["data"][1]["id"])
    assert home.get(f"{path}?limit=1")["has_more"]
    assert home.get(f"{path}?after={both['first_id']}")["data"] == both["data"][1:]
    assert home.get(f"{path}?type=video.cancelled")["data"] == both["data"][1:]
    assert home.get(f"{path}?state=delivered")["data"] == []
    for query in ("state=lost", "type=video.exploded", "after=whe_1", "limit=101"):
        with pytest.raises(BadRequestError):
            home.get(f"{path}?{query}")


def test_what_was_delivered_is_sent_again_under_the_same_id(home: Home) -> None:
    endpoint = home.register()
    home.fail_a_video()
    assert home.deliver() == 1
    [delivery] = home.get(f"/webhook_endpoints/{endpoint.id}/deliveries")["data"]
    again = home.post(f"/webhook_endpoints/{endpoint.id}/deliveries/{delivery['id']}/resend")
    assert (again["state"], again["attempts"], len(again["log"])) == ("pending", 0, 1)
    assert home.deliver() == 1
    first, second = (unwrap(home, number, endpoint.signing_secret) for number in (0, 1))
    assert first.id == second.id == delivery["id"]
    assert len(home.get(f"/webhook_endpoints/{endpoint.id}/deliveries/{delivery['id']}")["log"]) == 2


def test_a_range_is_replayed_under_the_same_ids(home: Home) -> None:
    endpoint = home.register()
    home.there.answers += [(410, {}, b"")]
    started = int(time.time())
    for _ in range(3):
        home.fail_a_video()
    assert home.deliver() == 1
    assert home.client.webhooks.retrieve(endpoint.id).to_dict()["disabled_reason"] == "gone"
    path = f"/webhook_endpoints/{endpoint.id}/replay"
    with pytest.raises(ConflictError) as refused:
        home.post(path, since=started)
    assert refused.value.code == "webhook_endpoint_disabled"
    home.client.webhooks.update(endpoint.id, name="back")
    answer = home.post(path, since=started)
    assert answer == {
        "object": "webhook_endpoint.replay",
        "webhook_endpoint_id": endpoint.id,
        "scheduled": 3,
        "per_second": 10.0,
        "has_more": False,
    }
    delivered, deadline = 0, time.monotonic() + 5
    while delivered < 3 and time.monotonic() < deadline:
        delivered += home.deliver()
    ids = [unwrap(home, number, endpoint.signing_secret).id for number in range(4)]
    assert len(set(ids)) == 3
    assert home.post(path, since=started)["scheduled"] == 0, "nothing failed is left"
    assert home.post(path, since=started, state="all", types=["video.failed"])["scheduled"] == 3


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("since", {}),
        ("since", {"since": "yesterday"}),
        ("since", {"since": -1}),
        ("since", {"since": 10**11}),
        ("since", {"since": 10, "until": 10}),
        ("until", {"since": 10, "until": True}),
        ("state", {"since": 10, "state": "pending"}),
        ("state", {"since": 10, "state": 7}),
        ("types", {"since": 10, "types": ["video.exploded"]}),
        ("rate", {"since": 10, "rate": 100}),
    ],
)
def test_a_replay_that_cannot_be_is_a_400(home: Home, param: str, body: dict[str, Any]) -> None:
    endpoint = home.register()
    with pytest.raises(BadRequestError) as refused:
        home.post(f"/webhook_endpoints/{endpoint.id}/replay", **body)
    assert refused.value.param == param


@pytest.mark.parametrize("event_type", list(EventType))
def test_every_event_type_can_be_tested(home: Home, event_type: str) -> None:
    endpoint = home.register()
    tested = home.client.webhooks.test(endpoint.id, event_type=event_type)
    assert tested.to_dict() == {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": endpoint.id,
        "event_type": event_type,
        "status_code": 200,
        "success": True,
    }
    event = unwrap(home, 0, endpoint.signing_secret)
    assert event.type == event_type
    assert home.get(f"/webhook_endpoints/{endpoint.id}/deliveries")["data"] == [], "a test leaves no trace"


def test_a_test_that_is_answered_with_an_error_says_which(home: Home) -> None:
    endpoint = home.register()
    home.there.answers.append((503, {}, b""))
    tested = home.client.webhooks.test(endpoint.id, event_type="video.completed")
    assert (tested.status_code, tested.success) == (503, True), "success: there was an answer, as in OpenAI's type"


def test_a_test_without_an_answer_is_an_error_that_says_why(home: Home) -> None:
    with raw_server(lambda connection: connection.close()) as closing:
        endpoint = home.register()
        home.client.webhooks.update(endpoint.id, url=f"http://127.0.0.1:{closing.port}/")
        with pytest.raises(BadRequestError, match="E_") as refused:
            home.client.webhooks.test(endpoint.id, event_type="video.completed")
    assert refused.value.code == "webhook_test_failed"
    for body in ({}, {"event_type": "video.exploded"}, {"event_type": 7}):
        with pytest.raises(BadRequestError) as refused:
            home.post(f"/webhook_endpoints/{endpoint.id}/test", **body)
        assert refused.value.param == "event_type"


def test_a_test_does_not_tell_which_names_can_be_found(home: Home) -> None:
    nowhere = "https://nobody.invalid/hook"
    unfound = Egress(allow_loopback=False, total_seconds=10).get(nowhere, kinds=("text/plain",), most_bytes=1)
    assert isinstance(unfound, Unfetched)
    assert unfound.reason == ErrorClass.DNS
    endpoint = home.register()
    home.client.webhooks.update(endpoint.id, url=nowhere)
    with pytest.raises(BadRequestError) as refused:
        home.client.webhooks.test(endpoint.id, event_type="video.completed")
    assert "E_TARGET" in refused.value.message
    assert "E_DNS" not in refused.value.message


def test_the_url_of_a_request_gets_the_end_signed_with_the_default_secret(home: Home) -> None:
    video = home.fail_a_video(webhook_url=home.there.url("/mine?x=1"))
    assert home.deliver() == 1
    [request] = home.there.requests
    assert request.path == "/mine?x=1"
    secret = home.get("/webhook_endpoints/default")["signing_secret"]
    event = unwrap(home, 0, secret)
    assert (event.type, event.data.id) == ("video.failed", video)
    [delivery] = home.get("/webhook_endpoints/default/deliveries")["data"]
    assert (delivery["id"], delivery["webhook_endpoint_id"], delivery["url"]) == (
        event.id,
        "default",
        home.there.url("/mine?x=1"),
    )
    home.post(f"/webhook_endpoints/default/deliveries/{event.id}/resend")
    assert home.deliver() == 1
    assert unwrap(home, 1, secret).id == event.id
    assert home.post("/webhook_endpoints/default/replay", since=0, state="all")["scheduled"] == 1
    assert home.client.webhooks.list().data == [], "it is no endpoint of theirs"


def test_an_end_whose_url_is_erased_cannot_be_sent_again(home: Home) -> None:
    video = home.fail_a_video(webhook_url=home.there.url("/secret?token=1"))
    assert home.deliver() == 1
    path = "/webhook_endpoints/default"
    [delivery] = home.get(f"{path}/deliveries")["data"]
    home.client.videos.delete(video)
    with pytest.raises(ConflictError) as refused:
        home.post(f"{path}/deliveries/{delivery['id']}/resend")
    assert refused.value.code == "webhook_url_erased"
    assert home.post(f"{path}/replay", since=0, state="all")["scheduled"] == 0
    assert home.deliver() == 0
    assert [request.path for request in home.there.requests] == ["/secret?token=1"]


def test_the_default_secret_is_read_and_rotated(home: Home) -> None:
    first = home.get("/webhook_endpoints/default")
    assert first["object"] == "webhook_endpoint.default"
    assert home.get("/webhook_endpoints/default") == first
    second = home.post("/webhook_endpoints/default/rotate_secret", overlap_seconds=60)
    assert second["signing_secret"] != first["signing_secret"]
    assert second["signing_secret_hint"].endswith(second["signing_secret"][-4:])
    home.fail_a_video(webhook_url=home.there.url())
    assert home.deliver() == 1
    for secret in (first, second):
        assert unwrap(home, 0, secret["signing_secret"]).type == "video.failed"
    third = home.post("/webhook_endpoints/default/rotate_secret")
    home.fail_a_video(webhook_url=home.there.url())
    assert home.deliver() == 1
    assert unwrap(home, 1, third["signing_secret"]).type == "video.failed"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        unwrap(home, 1, second["signing_secret"])


@pytest.mark.parametrize(
    "body",
    [
        {"overlap_seconds": 59},
        {"overlap_seconds": 604_801},
        {"overlap_seconds": "60"},
        {"overlap_seconds": 60, "keep_old_secret_active_for_24_hours": True},
    ],
)
def test_an_overlap_is_between_a_minute_and_a_week(home: Home, body: dict[str, Any]) -> None:
    endpoint = home.register()
    for owner in (endpoint.id, "default"):
        with pytest.raises(BadRequestError) as refused:
            home.post(f"/webhook_endpoints/{owner}/rotate_secret", **body)
        assert refused.value.param == "overlap_seconds"


def test_rate_and_concurrency_are_the_endpoints_own(home: Home) -> None:
    plain = home.register().to_dict()
    assert (plain["rate"], plain["concurrency"], plain["disabled_reason"]) == (None, 4, None)
    assert plain["health"] == {
        "state": "ok",
        "paused_until": None,
        "failing_since": None,
        "failures": 0,
        "alert_percent": 0,
        "alerted_at": None,
    }
    slow = home.register(rate=2.5, concurrency=1)
    assert (slow.to_dict()["rate"], slow.to_dict()["concurrency"]) == (2.5, 1)
    changed = home.post(f"/webhook_endpoints/{slow.id}", rate=0, concurrency=16)
    assert (changed["rate"], changed["concurrency"]) == (None, 16)


def test_an_endpoint_shows_that_it_fails(home: Home) -> None:
    endpoint = home.register()
    home.there.answers += [(500, {}, b"")] * 10
    for _ in range(10):
        home.fail_a_video()
    while home.deliver():
        pass
    health = home.client.webhooks.retrieve(endpoint.id).to_dict()["health"]
    assert (health["state"], health["failures"]) == ("paused", 10)
    assert 20 < health["paused_until"] - time.time() <= 30
    assert home.client.webhooks.update(endpoint.id, name="again").to_dict()["health"]["state"] == "ok"


def test_a_tenant_has_a_bounded_number_of_endpoints(home: Home) -> None:
    for _ in range(20):
        home.register()
    with pytest.raises(ConflictError) as refused:
        home.register()
    assert refused.value.code == "webhook_endpoint_limit"
    assert "20" in refused.value.message


def test_another_tenants_deliveries_do_not_exist(home: Home, new_tenant: Callable[[str], Tenant]) -> None:
    endpoint = home.register()
    home.fail_a_video(webhook_url=home.there.url())
    [theirs] = home.get("/webhook_endpoints/default/deliveries")["data"]
    mine = OpenAI(api_key=new_tenant("mine").key, base_url=BASE, http_client=home.app, max_retries=0)
    own = mine.webhooks.create(name="n", url=home.there.url(), event_types=["video.failed"])
    assert mine.get("/webhook_endpoints/default/deliveries", cast_to=object)["data"] == []
    assert mine.post("/webhook_endpoints/default/replay", cast_to=object, body={"since": 0})["scheduled"] == 0
    paths = [f"/webhook_endpoints/{endpoint.id}/deliveries"]
    paths += [f"/webhook_endpoints/{each}/deliveries/{theirs['id']}" for each in (endpoint.id, own.id, "default")]
    for path in paths:
        with pytest.raises(NotFoundError):
            mine.get(path, cast_to=object)
    for path in [f"{path}/resend" for path in paths[1:]] + [f"/webhook_endpoints/{endpoint.id}/test"]:
        with pytest.raises(NotFoundError):
            mine.post(path, cast_to=object, body={"event_type": "video.failed"})
    with pytest.raises(NotFoundError):
        mine.post(f"/webhook_endpoints/{endpoint.id}/replay", cast_to=object, body={"since": 0})
