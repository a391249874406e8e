from __future__ import annotations

import http.server
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import OpenAI

from api.app import create_app
from api.moderations import MOST_CHARACTERS, MOST_INPUTS
from api.moderator import ROOM
from moderation.policy import CATEGORIES, POLICY_VERSION
from runtime.settings import Settings
from storage.database import Database
from tests.api.conftest import BASE, Tenant
from tests.worker.conftest import free_port, moderator

__all__ = ["moderator"]

NO_SCORES = dict.fromkeys(CATEGORIES, 0.0)


class Stranger(http.server.ThreadingHTTPServer):
    """Somebody else's moderator: it answers what a test says, as slowly as it says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.says: Callable[[list[str]], Any] = self.harmless
        self.seconds = 0.0
        self.enough = threading.Event()  # whoever still waits need not
        self.under_way, self.most = 0, 0
        self.lock = threading.Lock()

    @staticmethod
    def harmless(texts: list[str]) -> dict[str, Any]:
        return {"id": "x", "model": "stranger", "results": [{"flagged": False, "category_scores": {}} for _ in texts]}


class Answering(http.server.BaseHTTPRequestHandler):
    server: Stranger

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
        with self.server.lock:
            self.server.under_way += 1
            self.server.most = max(self.server.most, self.server.under_way)
        self.server.enough.wait(self.server.seconds)
        body = json.dumps(self.server.says(texts)).encode()
        with self.server.lock:
            self.server.under_way -= 1
        with suppress(OSError):  # whoever asked may be gone
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    server = Stranger()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.enough.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asking(settings: Settings, tenant: Tenant) -> Iterator[Callable[..., TestClient]]:
    opened: list[TestClient] = []

    def ask(url: str, timeout: float = 10.0) -> TestClient:
        app = create_app(replace(settings, moderation_url=url, moderation_timeout_seconds=timeout))
        client = TestClient(app, headers={"authorization": f"Bearer {tenant.key}"})
        opened.append(client.__enter__())
        return client

    yield ask
    for client in opened:
        client.__exit__(None, None, None)


def test_the_official_client_checks_a_prompt(moderator: str, asking: Callable[..., TestClient], tenant: Tenant) -> None:
    client = OpenAI(
        api_key=tenant.key,
        base_url=BASE,
        http_client=asking(moderator),
        max_retries=0,
        _strict_response_validation=True,
    )
    answer = client.moderations.create(
        input=["a sunset over the sea", "a man stabs a stranger to death"], model="omni-moderation-latest"
    )
    harmless, harmful = answer.results
    assert answer.id.startswith("modr-")
    assert (harmless.flagged, harmful.flagged) == (False, True)
    assert harmful.categories.violence
    assert harmful.category_scores.violence > 0.5 > harmless.category_scores.violence
    assert harmful.category_applied_input_types.violence == ["text"]
    assert not client.moderations.create(input="a red ball").results[0].flagged
    parts = client.moderations.create(input=[{"type": "text", "text": "a red"}, {"type": "text", "text": "ball"}])
    assert len(parts.results) == 1


def test_an_answer_says_what_a_create_would_meet_and_not_which_rule(
    moderator: str, asking: Callable[..., TestClient]
) -> None:
    response = asking(moderator).post("/v1/moderations", json={"input": "how to build a pipe bomb"})
    [result] = response.json()["results"]
    assert tuple(result["categories"]) == tuple(result["category_scores"]) == CATEGORIES
    assert result["categories"]["illicit/violent"]
    assert result["kinema"] == {"action": "block", "policy": POLICY_VERSION}


def test_a_text_that_is_too_much_to_read_would_be_held(moderator: str, asking: Callable[..., TestClient]) -> None:
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz ", k=MOST_CHARACTERS))
    [result] = asking(moderator).post("/v1/moderations", json={"input": noise}).json()["results"]
    assert (result["flagged"], result["kinema"]["action"]) == (True, "review")


def test_the_rules_apply_whoever_the_moderator_is(stranger: Stranger, asking: Callable[..., TestClient]) -> None:
    client = asking(f"http://127.0.0.1:{stranger.server_port}")
    [result] = client.post("/v1/moderations", json={"input": "how to build a pipe bomb"}).json()["results"]
    assert result["flagged"]
    assert result["kinema"]["action"] == "block"
    flags = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.1}}
    stranger.says = lambda _: {"model": "stranger", "results": [flags]}
    [result] = client.post("/v1/moderations", json={"input": "a red ball"}).json()["results"]
    assert (result["flagged"], result["categories"]["violence"], result["kinema"]["action"]) == (True, True, "block")


def test_the_action_follows_the_tenants_own_policy(
    stranger: Stranger, asking: Callable[..., TestClient], database: Database, tenant: Tenant
) -> None:
    def judged(policy: str | None) -> tuple[int, Any]:
        with database.transaction_for_any_tenant() as connection:
            values = {"policy": policy, "id": tenant.id}
            connection.execute(sa.text("UPDATE tenants SET moderation = CAST(:policy AS jsonb) WHERE id = :id"), values)
        client = asking(f"http://127.0.0.1:{stranger.server_port}")
        answer = client.post("/v1/moderations", json={"input": "a red ball"})
        return answer.status_code, answer.json()["results"][0]["kinema"] if answer.status_code == 200 else None

    scores = {"flagged": False, "category_scores": {"violence": 0.4}}
    stranger.says = lambda _: {"model": "stranger", "results": [scores]}
    assert judged(None) == (200, {"action": "allow", "policy": POLICY_VERSION})
    assert judged('{"review_from": 0.3}') == (200, {"action": "review", "policy": f"{POLICY_VERSION}+tenant"})
    assert judged('{"review_from": 0.3, "on_review": "block"}')[1]["action"] == "block"
    assert judged('{"nonsense": 1}') == (503, None), "a policy that cannot be read allows nothing"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"input": 3}, "invalid_type"),
        ({"input": []}, "invalid_value"),
        ({"input": ["a"] * (MOST_INPUTS + 1)}, "invalid_value"),
        ({"input": "x" * 32_001}, "string_above_max_length"),
        ({"input": ["x" * (MOST_CHARACTERS // 2), "x" * (MOST_CHARACTERS // 2 + 1)]}, "string_above_max_length"),
        ({"input": [{}]}, "invalid_value"),
        ({"input": ["a", {"type": "text", "text": "b"}]}, "invalid_type"),
        ({"input": "a", "model": 3}, "invalid_type"),
        ({"input": "a", "threshold": 3}, "unknown_parameter"),
        ({"input": "a\0"}, "invalid_value"),
        ({"input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}, "images_not_supported"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anybody_is_asked(
    http: TestClient, body: dict[str, Any], code: str
) -> None:
    response = http.post("/v1/moderations", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


def test_no_moderator_is_no_verdict(asking: Callable[..., TestClient]) -> None:
    response = asking(f"http://127.0.0.1:{free_port()}").post("/v1/moderations", json={"input": "a red ball"})
    assert response.status_code == 503
    assert response.headers["retry-after"]


@pytest.mark.parametrize("answer", [{}, {"model": "x", "results": []}, {"model": "x", "results": [{"flagged": "?"}]}])
def test_an_answer_of_another_shape_is_no_verdict(
    answer: object, stranger: Stranger, asking: Callable[..., TestClient]
) -> None:
    stranger.says = lambda _: answer
    client = asking(f"http://127.0.0.1:{stranger.server_port}")
    assert client.post("/v1/moderations", json={"input": "a red ball"}).status_code == 503


def test_few_questions_are_under_way_at_once_and_no_tenant_asks_them_all(
    stranger: Stranger, asking: Callable[..., TestClient], new_tenant: Callable[[str], Tenant]
) -> None:
    stranger.seconds = 60.0
    client = asking(f"http://127.0.0.1:{stranger.server_port}", timeout=60.0)
    keys = [new_tenant(f"tenant {number}").key for number in range(ROOM.places + 1)]

    def ask(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return client.post("/v1/moderations", json={"input": "a"}, headers=headers).status_code

    with ThreadPoolExecutor(ROOM.places) as pool:
        asked = [pool.submit(ask, keys[0])]
        while stranger.under_way < 1:
            time.sleep(0.01)
        assert ask(keys[0]) == 503, "the second question of one tenant"
        asked += [pool.submit(ask, key) for key in keys[1 : ROOM.places]]
        while stranger.under_way < ROOM.places:
            time.sleep(0.01)
        assert ask(keys[ROOM.places]) == 503, "one question more than there are places"
        stranger.enough.set()
        assert {each.result() for each in asked} == {200}
    assert stranger.most == ROOM.places
    assert client.post("/v1/moderations", json={"input": "a"}).status_code == 200, "places are given back"


def test_a_silent_moderator_is_given_up_in_time(stranger: Stranger, asking: Callable[..., TestClient]) -> None:
    stranger.seconds = 60.0
    client = asking(f"http://127.0.0.1:{stranger.server_port}", timeout=0.2)
    started = time.monotonic()
    assert client.post("/v1/moderations", json={"input": "a"}).status_code == 503
    assert time.monotonic() - started < 20


def test_no_word_is_logged(
    stranger: Stranger, asking: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = asking(f"http://127.0.0.1:{stranger.server_port}")
    stranger.says = lambda texts: {"model": "x", "results": texts}
    with caplog.at_level(logging.DEBUG):
        client.post("/v1/moderations", json={"input": "a rosy-fingered dawn"})
    records = [str(record.__dict__) for record in caplog.records]
    assert records
    assert not any("rosy" in record for record in records)


def test_moderation_wants_a_key(app: TestClient) -> None:
    assert app.post("/v1/moderations", json={"input": "a"}).status_code == 401
