from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import BadRequestError, NotFoundError, OpenAI

from api.app import create_app
from domain.webhooks import EventType
from runtime.settings import Settings
from tests.api.conftest import Tenant
from tests.fixtures.videos import World

URL = "https://hooks.example.com/kinema?x=1"


def create(client: OpenAI, **changes: Any) -> Any:
    return client.webhooks.create(**{"name": "mine", "url": URL, "event_types": ["video.completed"], **changes})


def test_an_endpoint_is_created_and_shows_its_secret_only_then(client: OpenAI) -> None:
    made = create(client)
    assert made.id.startswith("whe_")
    assert (made.object, made.name, made.url, made.event_types) == (
        "webhook_endpoint",
        "mine",
        URL,
        ["video.completed"],
    )
    assert abs(made.created_at - time.time()) < 60
    assert made.updated_at == made.created_at
    assert made.signing_secret.startswith("whsec_")
    assert made.signing_secret_hint == f"whsec_…{made.signing_secret[-4:]}"
    read = client.webhooks.retrieve(made.id)
    assert read.to_dict() == {name: value for name, value in made.to_dict().items() if name != "signing_secret"}
    assert made.signing_secret not in client.webhooks.with_raw_response.list().text


def test_a_create_that_is_sent_again_finds_the_endpoint_and_its_secret(client: OpenAI, http: TestClient) -> None:
    body = {"name": "n", "url": "https://hooks.example.com/", "event_types": ["video.failed"]}
    named = {"idempotency-key": "same"}
    for headers in ([named, named], [{"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "1"}]):
        first, second = (http.post("/v1/webhook_endpoints", json=body, headers=each) for each in headers)
        assert (first.status_code, second.status_code) == (200, 200)
        assert second.json() == first.json()
        assert first.json()["signing_secret"].startswith("whsec_")
        assert [answer.headers.get("idempotent-replayed") for answer in (first, second)] == [None, "true"]
    assert len(client.webhooks.list().data) == 2
    other = http.post("/v1/webhook_endpoints", json={**body, "name": "m"}, headers=named)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    client.webhooks.delete(http.post("/v1/webhook_endpoints", json=body, headers=named).json()["id"])
    assert http.post("/v1/webhook_endpoints", json=body, headers=named).status_code == 404


def test_endpoints_are_listed_newest_first_over_pages(client: OpenAI) -> None:
    made = [create(client, name=str(number)).id for number in range(3)]
    assert [endpoint.id for endpoint in client.webhooks.list(limit=2)] == made[::-1], "the client turns pages itself"
    page = client.webhooks.list(after=made[2], limit=1)
    assert [endpoint.id for endpoint in page.data] == [made[1]]
    assert page.has_more


def test_nobody_has_endpoints_at_first(client: OpenAI, http: TestClient) -> None:
    assert client.webhooks.list().data == []
    assert http.get("/v1/webhook_endpoints").json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_an_update_changes_only_what_it_names(client: OpenAI) -> None:
    made = create(client)
    changed = client.webhooks.update(made.id, event_types=["video.failed", "video.failed"])
    assert (changed.name, changed.url, changed.event_types) == ("mine", URL, ["video.failed"])
    changed = client.webhooks.update(made.id, name="other", url="https://elsewhere.example.com/")
    assert (changed.name, changed.url) == ("other", "https://elsewhere.example.com/")
    assert client.webhooks.retrieve(made.id) == changed
    assert not hasattr(changed, "signing_secret")


def test_a_deleted_endpoint_is_gone(client: OpenAI) -> None:
    made = create(client)
    deleted = client.webhooks.delete(made.id)
    assert deleted.to_dict() == {"id": made.id, "object": "webhook_endpoint.deleted", "deleted": True}
    for call in (client.webhooks.retrieve, client.webhooks.delete, client.webhooks.update):
        with pytest.raises(NotFoundError):
            call(made.id)
    assert client.webhooks.list().data == []


def test_the_secret_is_rotated(client: OpenAI) -> None:
    made = create(client)
    for options in ({}, {"keep_old_secret_active_for_24_hours": True}):
        rotated = client.webhooks.rotate_secret(made.id, **options)
        assert rotated.id == made.id
        assert rotated.signing_secret.startswith("whsec_")
        assert rotated.signing_secret != made.signing_secret
        assert client.webhooks.retrieve(made.id).signing_secret_hint == rotated.signing_secret_hint
    with pytest.raises(BadRequestError) as refused:
        client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours="yes")
    assert refused.value.param == "keep_old_secret_active_for_24_hours"


def test_the_event_types_are_those_of_videos_batches_and_endpoints(client: OpenAI) -> None:
    listed = client.webhooks.event_types.list()
    assert (listed.object, listed.data) == ("list", [str(event_type) for event_type in EventType])
    assert {"video.completed", "video.failed", "batch.completed", "webhook.ping"} <= set(listed.data)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("name", ""),
        ("name", "x" * 257),
        ("name", 7),
        ("name", "a\0b"),
        ("url", ""),
        ("url", 7),
        ("url", "http://hooks.example.com/"),
        ("url", "ftp://hooks.example.com/"),
        ("url", "https://user:secret@hooks.example.com/"),
        ("url", "https://127.0.0.1/"),
        ("url", "https://[::ffff:10.0.0.1]/"),
        ("url", "https://169.254.169.254/latest/"),
        ("url", "https://hooks.example.com:22/"),
        ("url", "http://127.0.0.1:9000/"),
        ("url", "https://" + "a" * 3000),
        ("event_types", []),
        ("event_types", "video.completed"),
        ("event_types", ["video.exploded"]),
        ("event_types", ["response.completed"]),
        ("rate", -1),
        ("rate", 1e-300),
        ("rate", 0.0099),
        ("rate", 1000.1),
        ("rate", "fast"),
        ("rate", True),
        ("concurrency", 0),
        ("concurrency", 17),
        ("concurrency", 1.5),
        ("event_types", [7]),
        ("secret", "whsec_mine"),
    ],
)
def test_what_cannot_be_accepted_is_a_400_that_names_its_parameter(client: OpenAI, param: str, value: Any) -> None:
    made = create(client)
    for call in (
        lambda: create(client, extra_body={param: value}),
        lambda: client.webhooks.update(made.id, extra_body={param: value}),
    ):
        with pytest.raises(BadRequestError) as refused:
            call()
        assert refused.value.type == "invalid_request_error"
        assert refused.value.param == param
        assert refused.value.message
    assert client.webhooks.list().data == [client.webhooks.retrieve(made.id)], "nothing was made or changed"


@pytest.mark.parametrize("missing", ["name", "url", "event_types"])
def test_every_parameter_of_a_create_is_required(client: OpenAI, missing: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        create(client, extra_body={missing: None})
    assert (refused.value.param, refused.value.code) == (missing, "missing_required_parameter")


@pytest.mark.parametrize("query", ["?limit=-1", "?limit=101", "?limit=x", "?after=video_1"])
def test_a_page_that_cannot_be_is_a_400(http: TestClient, query: str) -> None:
    answer = http.get(f"/v1/webhook_endpoints{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in {"limit", "after"}


def test_another_tenants_endpoint_does_not_exist(
    client_of: Callable[..., OpenAI], new_tenant: Callable[[str], Tenant]
) -> None:
    mine, theirs = client_of(new_tenant("mine")), client_of(new_tenant("theirs"))
    endpoint = create(theirs)
    for call in (mine.webhooks.retrieve, mine.webhooks.delete, mine.webhooks.update, mine.webhooks.rotate_secret):
        with pytest.raises(NotFoundError) as refused:
            call(endpoint.id)
        assert refused.value.code == "webhook_endpoint_not_found"
    assert mine.webhooks.list().data == []
    assert theirs.webhooks.retrieve(endpoint.id).id == endpoint.id


@pytest.mark.parametrize("unknown", ["whe_0", "video_0198", "x" * 500, "whe_" + "0" * 32])
def test_an_id_that_names_nothing_is_not_found(client: OpenAI, unknown: str) -> None:
    with pytest.raises(NotFoundError):
        client.webhooks.retrieve(unknown)


def test_without_a_key_there_is_nothing(app: TestClient) -> None:
    for method, path in (
        ("GET", "/v1/webhook_endpoints"),
        ("POST", "/v1/webhook_endpoints"),
        ("GET", "/v1/webhook_event_types"),
        ("DELETE", "/v1/webhook_endpoints/whe_1"),
    ):
        assert app.request(method, path).status_code == 401


def test_loopback_can_be_registered_where_the_settings_let_it_through(settings: Settings, tenant: Tenant) -> None:
    with TestClient(create_app(replace(settings, webhook_allow_loopback=True))) as app:
        client = OpenAI(api_key=tenant.key, base_url="http://testserver/v1", http_client=app, max_retries=0)
        assert create(client, url="http://127.0.0.1:9000/hook").url == "http://127.0.0.1:9000/hook"
        with pytest.raises(BadRequestError):
            create(client, url="http://10.0.0.1:9000/hook")


def test_the_end_of_a_video_is_stored_for_the_endpoints_that_want_it(
    client: OpenAI, tenant: Tenant, world: World
) -> None:
    wanting = create(client, event_types=["video.failed"])
    create(client, event_types=["video.completed"])
    video = client.videos.create(prompt="a red ball")
    client.post(f"/videos/{video.id}/cancel", cast_to=object)
    with world.database.transaction(tenant.id) as connection:
        [(state, endpoint)] = connection.execute(sa.text("SELECT state, endpoint_id FROM webhook_deliveries")).all()
    assert (state, f"whe_{endpoint.hex}") == ("pending", wanting.id)
