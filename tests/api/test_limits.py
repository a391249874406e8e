from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import OpenAI, RateLimitError

from api import limits
from api.app import create_app
from runtime.settings import Secret, Settings
from storage.database import Database
from storage.tables import tenants
from tests.api.conftest import BASE, Tenant

STANDING = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')
HEADERS = ("ratelimit", "ratelimit-policy", "x-ratelimit-limit-requests", "x-ratelimit-reset-requests")


@pytest.fixture
def limited(database: Database, new_tenant: Callable[[str], Tenant]) -> Callable[..., Tenant]:
    def make(**values: int) -> Tenant:
        tenant = new_tenant("limited")
        with database.transaction_for_any_tenant() as connection:
            connection.execute(sa.update(tenants).where(tenants.c.id == tenant.id).values(**values))
        return tenant

    return make


def test_a_tenant_without_limits_is_told_of_none(http: TestClient) -> None:
    answer = http.get("/v1/videos")
    assert not set(HEADERS) & set(answer.headers)


def test_every_answer_says_what_is_left(app: TestClient, limited: Callable[..., Tenant]) -> None:
    app.headers["authorization"] = f"Bearer {limited(requests_per_minute=20).key}"
    calls = [app.get("/v1/videos"), app.get("/v1/videos/video_0"), app.get("/v1/models"), app.post("/v1/videos")]
    assert [call.status_code for call in calls] == [200, 404, 200, 415]
    for left, call in zip((19, 18, 17, 16), calls, strict=True):
        assert STANDING.findall(call.headers["ratelimit"]) == [("requests", str(left), "120")]
        assert call.headers["ratelimit-policy"] == '"requests";q=20;w=60'
        assert call.headers["x-ratelimit-limit-requests"] == "20"
        assert call.headers["x-ratelimit-remaining-requests"] == str(left)
        assert call.headers["x-ratelimit-reset-requests"] == "2m0s"


def test_questions_to_the_moderator_count_as_requests(
    app: TestClient, limited: Callable[..., Tenant], settings: Settings
) -> None:
    tenant = limited(requests_per_minute=3)
    away = replace(settings, moderation_url="http://127.0.0.1:1")
    with TestClient(create_app(away), headers={"authorization": f"Bearer {tenant.key}"}) as asking:
        answers = [asking.post("/v1/moderations", json={"input": "a ball"}) for _ in range(4)]
    assert [each.status_code for each in answers] == [503, 503, 503, 429], "whatever came of them"
    assert [STANDING.findall(each.headers["ratelimit"])[0][:2] for each in answers[:3]] == [
        ("requests", "2"),
        ("requests", "1"),
        ("requests", "0"),
    ]
    app.headers["authorization"] = f"Bearer {tenant.key}"
    assert app.get("/v1/videos").status_code == 429, "one count for all"


def test_who_asks_too_often_is_told_when_to_come_back(app: TestClient, limited: Callable[..., Tenant]) -> None:
    app.headers["authorization"] = f"Bearer {limited(requests_per_minute=2).key}"
    for _ in range(2):
        assert app.get("/v1/videos").status_code == 200
    refused = app.get("/v1/videos")
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
    assert 60 <= int(refused.headers["retry-after"]) <= 61
    assert 59_000 < int(refused.headers["retry-after-ms"]) <= 60_010
    assert "x-should-retry" not in refused.headers
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-request-id"].startswith("req_")


def test_calls_that_make_videos_have_a_limit_of_their_own(
    client_of: Callable[..., OpenAI], limited: Callable[..., Tenant]
) -> None:
    client = client_of(limited(requests_per_minute=50, creates_per_minute=2))
    raw = client.videos.with_raw_response.create(prompt="a red ball")
    assert raw.headers["ratelimit-policy"] == '"requests";q=50;w=60, "creates";q=2;w=60'
    assert STANDING.findall(raw.headers["ratelimit"]) == [("requests", "49", "120"), ("creates", "1", "120")]
    assert raw.headers["x-ratelimit-limit-requests"] == "2", "the limit that is nearest"
    client.videos.create(prompt="a red ball")
    with pytest.raises(RateLimitError, match="creates per minute: limit 2") as refused:
        client.videos.remix(raw.parse().id, prompt="a blue ball")
    assert refused.value.code == "rate_limit_exceeded"
    assert len(client.videos.list().data) == 2


@pytest.fixture(scope="module")
def sparing(settings: Settings) -> Iterator[TestClient]:
    """An installation that limits tenants by default."""
    with TestClient(create_app(replace(settings, requests_per_minute=3, creates_per_minute=1))) as client:
        yield client


def test_the_installations_limit_is_for_tenants_without_their_own(
    sparing: TestClient, tenant: Tenant, limited: Callable[..., Tenant]
) -> None:
    for who, limit in ((tenant, "3"), (limited(requests_per_minute=7), "7")):
        answer = sparing.get("/v1/videos", headers={"authorization": f"Bearer {who.key}"})
        assert answer.headers["x-ratelimit-limit-requests"] == limit


def test_the_client_waits_for_its_turn_by_itself(sparing: TestClient, tenant: Tenant) -> None:
    """The SDK reads retry-after-ms and would try again, which a quota's refusal forbids."""
    client = OpenAI(api_key=tenant.key, base_url=BASE, http_client=sparing, max_retries=0)
    client.videos.create(prompt="a red ball")
    with pytest.raises(RateLimitError) as refused:
        client.videos.create(prompt="a red ball")
    assert client._should_retry(refused.value.response)


def test_without_valkey_the_limit_holds_all_the_same(settings: Settings, tenant: Tenant) -> None:
    away = replace(settings, redis_url=Secret("redis://127.0.0.1:1/0"), requests_per_minute=2)
    with TestClient(create_app(away), headers={"authorization": f"Bearer {tenant.key}"}) as client:
        answers = [client.get("/v1/videos") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]


def test_strangers_are_counted_nowhere(app: TestClient) -> None:
    refused = app.get("/v1/videos", headers={"authorization": "Bearer nobody"})
    assert refused.status_code == 401
    assert not set(HEADERS) & set(refused.headers)


def test_every_call_that_makes_a_video_is_counted_as_one(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    posts = {path for path, calls in paths.items() if path.startswith("/v1/videos") and "post" in calls}
    harmless = {path for path in posts if path.endswith(("/cancel", "/feedback", "/characters"))}
    assert posts - harmless == limits.CREATING
