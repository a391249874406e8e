"""Requests that carry a key, and what tells one request from another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import ConflictError, OpenAI
from PIL import Image

from api import idempotency
from api.multipart import Upload
from domain import ids
from storage import idempotency as remembered
from storage.database import Database
from tests.api.conftest import Tenant
from tests.api.repeats import CREATE, REPLAYED, created, one
from tests.fixtures.videos import World


def test_a_key_answers_what_its_first_request_made(
    send: Callable[..., Any], database: Database, tenant: Tenant
) -> None:
    first, again = (send({"prompt": "a ball", "seed": 3}, key="order-17") for _ in range(2))
    one([first, again])
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert created(database, tenant) == 1


def test_a_replay_shows_the_video_as_it_is_now(
    send: Callable[..., Any], http: TestClient, database: Database, tenant: Tenant
) -> None:
    first = send({"prompt": "a ball"}, key="k").json()
    http.post(f"/v1/videos/{first['id']}/cancel")
    again = send({"prompt": "a ball"}, key="k").json()
    assert (first["status"], again["status"], again["error"]["code"]) == ("queued", "failed", "cancelled")
    assert http.delete(f"/v1/videos/{first['id']}").status_code == 200
    gone = send({"prompt": "a ball"}, key="k")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "video_not_found")
    with database.transaction(tenant.id) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM videos")) == 1


def test_a_key_for_another_request_is_a_conflict_that_no_client_repeats(
    client_of: Callable[..., OpenAI], tenant: Tenant
) -> None:
    client = client_of(tenant, max_retries=2)
    client.videos.create(prompt="a ball", extra_headers={"Idempotency-Key": "k"})
    with pytest.raises(ConflictError) as refused:
        client.videos.create(prompt="a cube", extra_headers={"Idempotency-Key": "k"})
    assert (refused.value.code, refused.value.param) == ("idempotency_key_reused", "Idempotency-Key")
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_a_key_in_use_is_a_conflict_that_clients_repeat(
    send: Callable[..., Any], database: Database, tenant: Tenant
) -> None:
    with database.transaction(tenant.id) as connection:
        lock = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
        connection.execute(lock, {"name": f"kinema key {tenant.id} k"})
        busy = send({"prompt": "a ball"}, key="k")
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "idempotency_in_flight")
    assert "x-should-retry" not in busy.headers
    assert int(busy.headers["retry-after"]) >= 1
    assert send({"prompt": "a ball"}, key="k").status_code == 200
    assert created(database, tenant) == 1


def test_a_key_belongs_to_its_tenant(send: Callable[..., Any], new_tenant: Callable[[str], Tenant]) -> None:
    bob = new_tenant("bob")
    mine, theirs = send({"prompt": "a ball"}, key="k"), send({"prompt": "a cube"}, key="k", who=bob)
    assert theirs.status_code == 200
    assert REPLAYED not in theirs.headers
    assert mine.json()["id"] != theirs.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "müde"])
def test_a_malformed_key_is_refused(http: TestClient, key: str) -> None:
    headers = {"idempotency-key": key.encode("latin-1")}
    answer = http.post(CREATE, json={"prompt": "a ball"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "idempotency-key")


def test_a_refused_request_leaves_its_key_free(send: Callable[..., Any], database: Database, tenant: Tenant) -> None:
    assert send({"prompt": "a ball", "seconds": "5"}, key="k").status_code == 400
    assert send({"prompt": "a ball"}, key="k").status_code == 200
    assert created(database, tenant) == 1


def test_a_key_may_be_used_anew_after_a_day(send: Callable[..., Any], database: Database, tenant: Tenant) -> None:
    first = send({"prompt": "a ball"}, key="k").json()["id"]
    with database.transaction(tenant.id) as connection:
        connection.execute(sa.text("UPDATE idempotency_keys SET expires_at = expires_at - interval '24 hours'"))
    second = send({"prompt": "a cube"}, key="k")
    assert second.json()["id"] != first
    assert one([send({"prompt": "a cube"}, key="k")]) == second.json()["id"]


def test_twenty_racers_with_one_key_make_one_video(
    send: Callable[..., Any], database: Database, tenant: Tenant
) -> None:
    def insist(_number: int) -> httpx2.Response:
        for _ in range(100):
            answer = send({"prompt": "a race"}, key="k")
            if answer.status_code != 409:
                return answer
            assert answer.json()["error"]["code"] == "idempotency_in_flight"
            time.sleep(0.02)
        raise AssertionError("the key never became free")

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(insist, range(20)))
    one(answers)
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert created(database, tenant) == 1


def test_what_the_loser_of_a_race_uploaded_is_swept(
    app: TestClient, database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = BytesIO()
    Image.new("RGB", (256, 144)).save(file, "PNG")

    def post() -> httpx2.Response:
        headers = {"authorization": f"Bearer {tenant.key}", "idempotency-key": "k"}
        return app.post(
            CREATE,
            data={"prompt": "a ball", "size": "256x144"},
            files={"input_reference": ("a.png", file.getvalue(), "image/png")},
            headers=headers,
        )

    first = post()
    monkeypatch.setattr(idempotency.Attempt, "recall", lambda *_: None)  # both were past it when they raced
    one([first, post()])
    with database.transaction(tenant.id) as connection:
        rows = connection.execute(sa.text("SELECT video_id, doomed_at <= clock_timestamp() AS doomed FROM objects"))
        doomed = {row.video_id: row.doomed for row in rows}
    assert doomed.pop(ids.parse(ids.Kind.VIDEO, first.json()["id"])) is None
    assert list(doomed.values()) == [True]


def test_what_is_too_old_to_matter_is_dropped(send: Callable[..., Any], world: World, tenant: Tenant) -> None:
    send({"prompt": "named"}, key="k")
    send({"prompt": "counted"})
    tables = ("idempotency_keys", "submissions")
    with world.database.transaction_for_any_tenant() as connection:
        remembered.drop_old_for_any_tenant(connection, 100)
        for table in tables:
            where = sa.text(f"SELECT count(*) FROM {table} WHERE tenant_id = :tenant")  # noqa: S608 - our own names
            assert connection.scalar(where, {"tenant": tenant.id}) == 1
        connection.execute(sa.text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'"))
        connection.execute(sa.text("UPDATE submissions SET created_at = now() - interval '11 minutes'"))
        remembered.drop_old_for_any_tenant(connection, 10_000)
        for table in tables:
            assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0  # noqa: S608 - our own names


SAME: list[dict[str, Any]] = [
    {"prompt": "a ball", "seconds": 8, "seed": 7, "guidance": 3.0, "loop": True, "metadata": {"a": "1", "b": "2"}},
    {
        "metadata": {"b": "2", "a": "1"},
        "guidance": "3",
        "seconds": "8",
        "prompt": "a ball",
        "seed": "7",
        "loop": "true",
    },
]


def test_one_call_in_two_encodings_is_one_request() -> None:
    first, second = (idempotency.fingerprint(CREATE, values) for values in SAME)
    assert first == second


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a  ball"},
        {"prompt": "a ball", "seed": 7},
        {"prompt": "a ball", "shots": []},
        {"prompt": "a ball", "input_reference": Upload(b"1")},
        {"prompt": "a ball", "input_reference": Upload(b"2")},
        {"prompt": "a ball", "input_reference": {"file": "1"}},
        {"prompt": "a ball", "shots": ["list", "a"]},
        {"prompt": "a ball", "shots": [["list", "a"]]},
    ],
    ids=str,
)
def test_anything_else_is_another_request(other: dict[str, Any]) -> None:
    others = [{"prompt": "a ball"}, {"prompt": "a ball", "input_reference": Upload(b"3")}]
    assert idempotency.fingerprint(CREATE, other) not in {idempotency.fingerprint(CREATE, each) for each in others}
    assert idempotency.fingerprint(CREATE, other) != idempotency.fingerprint(f"{CREATE}/x/remix", other)


def test_a_body_nested_too_deeply_is_refused(http: TestClient) -> None:
    deep = '{"prompt": "a", "shots": ' + "[" * 900 + "]" * 900 + "}"
    answer = http.post(CREATE, content=deep, headers={"content-type": "application/json"})
    assert answer.status_code == 400, json.dumps(answer.json())


def test_every_call_that_creates_something_takes_a_key(app: TestClient) -> None:
    paths = app.get("/openapi.json").json()["paths"]
    taking = {
        path
        for path, calls in paths.items()
        if any(each["name"] == "idempotency-key" for each in calls.get("post", {}).get("parameters", []))
    }
    videos = {"/v1/videos", "/v1/videos/edits", "/v1/videos/extensions", "/v1/videos/{video_id}/remix"}
    assert taking == {*videos, "/v1/videos/characters", "/v1/files", "/v1/batches", "/v1/webhook_endpoints"}
