"""The same create, sent again by a client that counts its retries: at once, later, and on purpose."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api import idempotency
from domain.lifecycle import State
from storage.database import Database
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.api.repeats import CREATE, REPLAYED, created, one
from tests.api.stages import bring
from tests.fixtures.videos import World


def test_a_counted_retry_finds_what_its_original_made(
    send: Callable[..., Any], database: Database, tenant: Tenant
) -> None:
    answers = [send({"prompt": "a ball"}, count=count) for count in range(3)]
    one(answers)
    assert [answer.headers.get(REPLAYED) for answer in answers] == [None, "true", "true"]
    assert created(database, tenant) == 1


def test_two_deliberate_creates_are_two_videos_also_when_both_answers_are_lost(send: Callable[..., Any]) -> None:
    firsts = [send({"prompt": "twins"}).json()["id"] for _ in range(2)]
    retries = [send({"prompt": "twins"}, count=1).json()["id"] for _ in range(2)]
    assert len(set(firsts)) == 2
    assert sorted(retries) == sorted(firsts)
    third = send({"prompt": "twins"}, count=1)
    assert REPLAYED not in third.headers, "both are taken: a third client asks"


def test_a_retry_keeps_to_the_video_of_its_own_line(send: Callable[..., Any]) -> None:
    first, second = (send({"prompt": "twins"}).json()["id"] for _ in range(2))
    hers = send({"prompt": "twins"}, count=2).json()["id"]  # her count 1 never arrived
    his = send({"prompt": "twins"}, count=1).json()["id"]
    assert {hers, his} == {first, second}


def test_a_video_that_was_retrieved_answers_no_retry(send: Callable[..., Any], http: TestClient) -> None:
    first = send({"prompt": "a ball"}).json()["id"]
    assert http.get(f"/v1/videos/{first}").status_code == 200
    retry = send({"prompt": "a ball"}, count=1)
    assert REPLAYED not in retry.headers
    assert retry.json()["id"] != first


def test_only_the_first_look_at_a_video_is_written_down(send: Callable[..., Any], http: TestClient) -> None:
    first = send({"prompt": "a ball"}).json()["id"]
    written: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "UPDATE submissions" in statement:
            written.append(statement)

    engine = http.app.state.services.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        for _ in range(3):
            assert http.get(f"/v1/videos/{first}").status_code == 200
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert len(written) == 1


def test_a_create_says_four_things_between_its_begin_and_its_commit(send: Callable[..., Any], http: TestClient) -> None:
    send({"prompt": "a ball"})  # whose caller it is, and the state of the queue, are known from here on
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    engine = http.app.state.services.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        send({"prompt": "another ball"})
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    begun = next(at for at, statement in enumerate(said) if "pg_advisory_xact_lock_shared" in statement)
    marks = ("pg_advisory_xact_lock_shared", "submissions", "INSERT INTO videos", "INTO ledger")
    assert all(mark in statement for mark, statement in zip(marks, said[begun : begun + 4], strict=True)), said
    assert not any("quotas" in statement or "submissions" in statement for statement in said[begun + 4 :]), said


def test_a_list_retrieves_nothing(send: Callable[..., Any], http: TestClient) -> None:
    first = send({"prompt": "a ball"}).json()["id"]
    assert http.get("/v1/videos").json()["data"][0]["id"] == first
    assert send({"prompt": "a ball"}, count=1).json()["id"] == first


def test_an_old_video_answers_no_retry(send: Callable[..., Any], database: Database, tenant: Tenant) -> None:
    send({"prompt": "a ball"})
    with database.transaction(tenant.id) as connection:
        connection.execute(sa.text("UPDATE submissions SET created_at = created_at - interval '121 seconds'"))
    assert REPLAYED not in send({"prompt": "a ball"}, count=1).headers


def test_another_key_or_tenant_or_body_is_another_request(
    send: Callable[..., Any], new_tenant: Callable[[str], Tenant]
) -> None:
    send({"prompt": "a ball"})
    bob = new_tenant("bob")
    others = [
        send({"prompt": "a ball"}, count=1, who=bob),
        send({"prompt": "a ball", "seed": 1}, count=1),
        send({"prompt": "a ball"}, count=1, key="k"),
    ]
    assert [answer.headers.get(REPLAYED) for answer in others] == [None, None, None]
    assert REPLAYED in send({"prompt": "a ball"}, count=1).headers


def test_a_client_that_does_not_count_is_never_answered_with_anothers_video(send: Callable[..., Any]) -> None:
    first = send({"prompt": "a ball"}, count=None)
    assert send({"prompt": "a ball"}, count=1).json()["id"] != first.json()["id"]
    assert REPLAYED not in send({"prompt": "a ball"}, count=None).headers


def test_an_original_that_its_own_retry_overtook_adopts_the_retrys_video(
    send: Callable[..., Any], database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original hangs between its arrival and its transaction, as one with a slow upload does."""
    entered, go_on = threading.Event(), threading.Event()
    plain = idempotency.Attempt.recall

    def hang(self: idempotency.Attempt, served: Any) -> Any:
        if self.retry.count == 0 and not entered.is_set():
            entered.set()
            assert go_on.wait(10)
        return plain(self, served)

    monkeypatch.setattr(idempotency.Attempt, "recall", hang)
    with ThreadPoolExecutor(1) as threads:
        original = threads.submit(send, {"prompt": "overtaken"})
        assert entered.wait(10)
        retry = send({"prompt": "overtaken"}, count=1)
        go_on.set()
        answer = original.result(10)
    one([retry, answer])
    assert answer.headers[REPLAYED] == "true"
    assert created(database, tenant) == 1
    assert REPLAYED not in send({"prompt": "overtaken"}).headers, "a later one with count 0 is deliberate"


@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "keyless"])
def test_lost_answers_cost_nothing(
    send: Callable[..., Any], database: Database, tenant: Tenant, *, keyed: bool
) -> None:
    """40 clients on 8 threads; the answer of a request is lost with even chance, half of them before it is there."""
    chance = random.Random(5)
    losses = [[chance.random() < 0.5 for _ in range(2)] for _ in range(40)]
    stragglers = ThreadPoolExecutor(40)

    def insist(number: int) -> str:
        body = {"prompt": f"a ball, {number // 4}"}  # four clients each ask for the same
        key = f"key {number}" if keyed else None
        for count in range(20):
            lost = count < 2 and losses[number][count]
            if lost and number % 2:  # gives up on the request while it is still under way
                stragglers.submit(send, body, count=count, key=key)
                time.sleep(0.2)  # clients wait before a retry, so their requests arrive in order
                continue
            answer = send(body, count=count, key=key)
            if answer.status_code == 409:
                time.sleep(0.02)
            elif not lost:
                assert answer.status_code == 200, answer.text
                return str(answer.json()["id"])
        raise AssertionError("no answer")

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(insist, range(40)))
    stragglers.shutdown(wait=True)
    assert created(database, tenant) == 40
    if keyed:  # without, identical requests of the same moment may swap their videos
        assert max(Counter(answers).values()) == 1


def test_a_script_that_asks_for_the_same_again_and_again_gets_a_new_one_each_time(
    send: Callable[..., Any], database: Database, tenant: Tenant
) -> None:
    chance = random.Random(6)

    def create() -> str:
        for count in range(3):
            answer = send({"prompt": "again"}, count=count)
            if count == 2 or chance.random() < 0.5:
                return str(answer.json()["id"])
        raise AssertionError("no answer")

    assert len({create() for _ in range(50)}) == 50
    assert created(database, tenant) == 50


def test_deliberate_twins_stay_two(send: Callable[..., Any], database: Database, tenant: Tenant) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: send({"prompt": f"twin {number // 2}"}), range(40)))
    assert len({answer.json()["id"] for answer in answers}) == 40
    assert created(database, tenant) == 40


def test_a_remix_is_not_made_twice_either_and_another_source_is_another_call(
    http: TestClient, world: World, object_store: ObjectStore
) -> None:
    sources: list[str] = []
    for _ in range(2):
        sources.append(http.post(CREATE, json={"prompt": "by day"}).json()["id"])
        bring(world, State.COMPLETED, object_store)

    def remix(source: str, count: int) -> httpx2.Response:
        headers = {"x-stainless-retry-count": str(count)}
        return http.post(f"{CREATE}/{source}/remix", json={"prompt": "by night"}, headers=headers)

    first, again, other = remix(sources[0], 0), remix(sources[0], 1), remix(sources[1], 1)
    assert one([first, again]) != one([other])
    assert [each.headers.get(REPLAYED) for each in (first, again, other)] == [None, "true", None]
