from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import BadRequestError, NotFoundError, OpenAI, RateLimitError

from api.app import create_app
from domain import ids
from domain.ledger import Meter
from domain.quotas import Period
from moderation import prompts
from runtime.settings import Secret, Settings
from storage import ledger, videos
from tests.api.conftest import Tenant
from tests.fixtures.videos import World

EVERYTHING: dict[str, Any] = {
    "prompt": "a red ball rolls left\nover the hill ⛰",
    "model": "sora-2-pro",
    "seconds": "8",
    "size": "1280x720",
    "seed": 7,
    "steps": 16,
    "guidance": 3.5,
    "metadata": {"order": "17", "müde": "ja"},
}
EXTRAS = {name: EVERYTHING[name] for name in ("seed", "steps", "guidance", "metadata")}


def expect_everything(video: dict[str, Any]) -> None:
    for name in ("prompt", "model", "seconds", "size", "seed", "metadata"):
        assert video[name] == EVERYTHING[name], name
    assert video["status"] == "queued"
    assert video["stage"] == "received"
    assert video["resolved_model"] == "kinema-dit"
    assert video["rendered"] == {"size": "256x144", "fps": 6}
    assert video["delivered"] == {"size": "1280x720", "fps": 12}
    used = {"gpu_ms": 0, "seconds": 0, "price_micros": 160_000, "held_micros": 160_000, "charged_micros": 0}
    assert video["usage"] == used


def test_a_prompt_is_enough(client: OpenAI) -> None:
    video = client.videos.create(prompt="a red ball rolls left")
    assert video.id.startswith("video_")
    assert (video.object, video.status, video.progress) == ("video", "queued", 0)
    assert (video.model, video.seconds, video.size) == ("sora-2", "4", "720x1280")
    assert abs(video.created_at - time.time()) < 60
    assert video.error is None
    assert client.videos.retrieve(video.id).to_dict() == video.to_dict()


def test_everything_as_multipart_with_brackets(client: OpenAI) -> None:
    plain = {name: EVERYTHING[name] for name in ("prompt", "model", "seconds", "size")}
    video = client.videos.create(**plain, extra_body=EXTRAS)
    expect_everything(client.videos.retrieve(video.id).to_dict())


def test_everything_as_multipart_with_json_strings(http: TestClient) -> None:
    fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in EVERYTHING.items()}
    answer = http.post("/v1/videos", files={name: (None, value) for name, value in fields.items()})
    assert answer.status_code == 200, answer.text
    expect_everything(answer.json())


def test_everything_as_json(http: TestClient) -> None:
    answer = http.post("/v1/videos", json=EVERYTHING)
    assert answer.status_code == 200, answer.text
    expect_everything(answer.json())


def test_the_sdk_may_send_json_too(client: OpenAI) -> None:
    video = client.videos.create(
        prompt="a ball", extra_headers={"Content-Type": "application/json"}, extra_body={"seed": 3, "seconds": 8}
    )
    assert (video.to_dict()["seed"], video.seconds) == (3, "8")


@pytest.mark.parametrize("body", ["{", '{"prompt": "\\ud800"}'])
def test_a_body_that_cannot_be_read_is_refused(http: TestClient, body: str) -> None:
    answer = http.post("/v1/videos", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_null_means_absent(http: TestClient) -> None:
    answer = http.post("/v1/videos", json={"prompt": "a ball", "seed": None, "seconds": None})
    assert (answer.status_code, answer.json()["seconds"]) == (200, "4")


def test_a_seed_is_drawn_and_kept(client: OpenAI) -> None:
    first, second = (client.videos.create(prompt="a ball").to_dict()["seed"] for _ in range(2))
    assert first != second


def test_a_create_holds_its_price_and_rings_for_the_screen(
    client: OpenAI, tenant: Tenant, world: World, redis_url: str
) -> None:
    video_id = ids.parse(ids.Kind.VIDEO, client.videos.create(prompt="a ball").id)
    with world.database.transaction(tenant.id) as connection:
        assert [event["type"] for event in videos.history(connection, tenant.id, video_id)] == ["received"]
        assert connection.execute(sa.text("SELECT kind, micros FROM ledger")).all() == [("hold", 40_000)]
    with redis.Redis.from_url(redis_url) as broker:
        deadline = time.monotonic() + 5
        while not (hints := broker.llen("kinema:screen")) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert hints


def test_without_a_broker_creates_are_answered_as_fast(settings: Settings, tenant: Tenant) -> None:
    deaf = Settings(**{**_fields(settings), "redis_url": Secret("redis://127.0.0.1:1/0")})
    with TestClient(create_app(deaf), headers={"authorization": f"Bearer {tenant.key}"}) as http:
        http.post("/v1/videos", json={"prompt": "warm up"})
        started = time.perf_counter()
        answers = [http.post("/v1/videos", json={"prompt": f"ball {number}"}) for number in range(10)]
        took = time.perf_counter() - started
    assert {answer.status_code for answer in answers} == {200}
    assert took / 10 < 0.25, "a create never waits for the broker, whose connection alone takes a second to fail"


def test_a_create_that_is_paid_for_is_answered_though_nobody_can_say_how_long_it_takes(
    fresh_app: TestClient, tenant: Tenant, owner_url: str
) -> None:
    fresh_app.headers["authorization"] = f"Bearer {tenant.key}"
    with sa.create_engine(owner_url, poolclass=sa.NullPool).begin() as owner:
        owner.execute(sa.text("LOCK TABLE queue_snapshots IN ACCESS EXCLUSIVE MODE"))
        created = fresh_app.post("/v1/videos", json={"prompt": "a ball"})
        assert created.status_code == 200, created.text
        read = fresh_app.get(f"/v1/videos/{created.json()['id']}")
    assert read.status_code == 200, read.text
    for answer in (created, read):
        assert (answer.json()["queue_position"], answer.json()["eta"]) == (None, None)
        assert int(answer.headers["openai-poll-after-ms"]) > 0
    assert len(fresh_app.get("/v1/videos").json()["data"]) == 1


def _fields(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in Settings.__slots__}


@pytest.mark.parametrize(
    ("values", "param", "code"),
    [
        ({"seconds": "5"}, "seconds", "invalid_value"),
        ({"size": "640x480"}, "size", "invalid_value"),
        ({"extra_body": {"seed": "x"}}, "seed", "invalid_type"),
        ({"extra_body": {"loras": [{"name": "a"}]}}, "loras", "unsupported_parameter"),
        ({"extra_body": {"characters": [{"id": "a"}]}}, "characters", "unsupported_parameter"),
        ({"extra_body": {"nonsense": 1}}, "nonsense", "unknown_parameter"),
    ],
)
def test_the_sdk_learns_what_is_wrong(client: OpenAI, values: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.videos.create(prompt="a ball", **values)
    assert (refused.value.param, refused.value.code, refused.value.type) == (param, code, "invalid_request_error")


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.videos.create(prompt="a ball", model="sora-3")
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


def test_a_prompt_that_the_rules_block_is_refused_without_saying_why(client: OpenAI) -> None:
    prompt = "explain step by step how to build a pipe bomb"
    assert prompts.check(prompt).action == "block"
    with pytest.raises(BadRequestError) as refused:
        client.videos.create(prompt=prompt)
    error = refused.value.body
    assert error == {
        "message": "Your request was rejected by the safety system.",
        "type": "invalid_request_error",
        "param": None,
        "code": "sentinel_block",
    }
    assert client.videos.list().data == []


def test_a_used_up_quota_is_not_worth_a_retry(client_of: Callable[..., OpenAI], tenant: Tenant, world: World) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant.id, Meter.MICROS, 50_000, Period.TOTAL)
    client = client_of(tenant, max_retries=2)
    client.videos.create(prompt="the first costs 40,000")
    with pytest.raises(RateLimitError) as refused:
        client.videos.create(prompt="the second is too much")
    assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
    assert len(client.videos.list().data) == 1


def test_a_form_with_a_nul_is_refused_and_names_the_field(http: TestClient) -> None:
    answer = http.post("/v1/videos", files={"prompt": (None, "a\0b")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")


def test_no_torch_is_imported() -> None:
    heavy = "{'torch', 'numpy', 'engines', 'av'}"
    check = f"import sys, api.app; found = {heavy} & sys.modules.keys(); sys.exit(str(found) if found else 0)"
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
