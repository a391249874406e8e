from __future__ import annotations

import random
import socket
import string
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import openai
import pytest

from moderation.policy import CATEGORIES, POLICY_VERSION
from moderation.questions import SECONDS
from tests.worker.conftest import free_port
from worker.moderation import Unavailable, Verdict, ask
from worker.moderator import ADVICE_PLACES


def post(url: str, body: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/moderations", json=body, timeout=30)


def test_the_openai_client_reads_the_answer(moderator: str) -> None:
    with openai.OpenAI(api_key="none", base_url=f"{moderator}/v1", max_retries=0) as client:
        answer = client.moderations.create(
            input=["a sunset over the sea", "a man stabs a stranger to death"], model="omni-moderation-latest"
        )
    harmless, harmful = answer.results
    assert answer.id.startswith("modr-")
    assert (harmless.flagged, harmful.flagged) == (False, True)
    assert harmful.categories.violence
    assert harmful.category_scores.violence > 0.5 > harmless.category_scores.violence
    assert harmful.category_applied_input_types.violence == ["text"]


def test_an_answer_has_every_category_and_our_extension(moderator: str) -> None:
    body = post(moderator, {"input": "how to build a pipe bomb"}).json()
    [result] = body["results"]
    assert tuple(result["categories"]) == tuple(result["category_scores"]) == CATEGORIES
    assert result["categories"]["illicit/violent"]
    assert result["kinema"]["action"] == "block"
    assert "weapon-instructions" in result["kinema"]["reasons"]
    assert result["kinema"]["policy"] == POLICY_VERSION


def test_text_parts_are_one_input(moderator: str) -> None:
    parts = [{"type": "text", "text": "a red ball"}, {"type": "text", "text": "a blue cube"}]
    assert len(post(moderator, {"input": parts}).json()["results"]) == 1


def test_an_image_is_refused_rather_than_waved_through(moderator: str) -> None:
    parts = [{"type": "text", "text": "this"}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    response = post(moderator, {"input": parts})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "images_not_supported"


@pytest.mark.parametrize(
    "body", [{}, {"input": 3}, {"input": "x" * 32_001}, {"input": ["a"] * 65}, {"input": [{}]}, []]
)
def test_a_request_of_another_shape_is_an_openai_error(body: object, moderator: str) -> None:
    response = post(moderator, body)
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_asking_gives_the_worst_of_all_texts(moderator: str) -> None:
    verdict = ask(moderator, ["a sunset over the sea", "Donald Trump walks on the moon"], 30)
    assert isinstance(verdict, Verdict)
    assert (verdict.action, verdict.reasons, verdict.policy) == ("review", ("public-figure",), POLICY_VERSION)
    assert tuple(verdict.scores) == CATEGORIES
    assert verdict.model.startswith("minilm-l6/")


def test_a_text_that_is_too_much_to_read_goes_to_a_person_at_once(moderator: str) -> None:
    chance = random.Random(1)
    noise = "".join(chance.choices(string.ascii_lowercase + " ", k=32_000))
    started = time.monotonic()
    verdict = ask(moderator, ["a red ball", noise], 30)
    took = time.monotonic() - started
    print(f"32,000 characters of noise: {took:.2f} s")
    assert isinstance(verdict, Verdict)
    assert (verdict.action, verdict.reasons) == ("review", ("unreadable",))
    assert took < 10
    blocked = ask(moderator, [noise[:31_900] + " how to build a pipe bomb"], 30)
    assert isinstance(blocked, Verdict)
    assert blocked.action == "block", "the rules read all of it"


def test_harmless_texts_are_allowed(moderator: str) -> None:
    verdict = ask(moderator, ["a red ball rolls left"], 30)
    assert isinstance(verdict, Verdict)
    assert (verdict.action, verdict.reasons) == ("allow", ())


def endless() -> list[str]:
    """More than any time limit here is enough for: clauses that all differ."""
    words = [f"{first}{second}" for first in "bcdfghjklmnpqrst" for second in "bcdfghjklmnpqrst"]
    clauses = [f"{words[n % 256]} {words[n // 256]} {words[(7 * n) % 256]}" for n in range(3_500)]
    return [",".join(clauses)[:32_000]] * 32


def test_work_that_nobody_waits_for_any_more_is_given_up(moderator: str) -> None:
    started = time.monotonic()
    response = httpx.post(f"{moderator}/v1/moderations", json={"input": endless()}, headers={SECONDS: "1"}, timeout=60)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert time.monotonic() - started < 8


def test_whoever_asks_for_advice_leaves_screening_its_places(moderator: str) -> None:
    def advise() -> int:
        headers = {SECONDS: "8"}
        body = {"input": endless()}
        return httpx.post(f"{moderator}/v1/moderations", json=body, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(ADVICE_PLACES + 1) as pool:
        flood = {pool.submit(advise) for _ in range(ADVICE_PLACES + 1)}
        refused, working = wait(flood, timeout=6, return_when=FIRST_COMPLETED)
        assert [each.result() for each in refused] == [503], "one more than there are places"
        verdict = ask(moderator, ["a red ball rolls left"], 8)
        assert isinstance(verdict, Verdict)
        assert not any(each.done() for each in working), "the flood was over before screening asked"
    assert post(moderator, {"input": "a red ball"}).status_code == 200, "places are given back"


def test_a_moderator_that_is_away_is_unavailable() -> None:
    answer = ask(f"http://127.0.0.1:{free_port()}", ["a red ball"], 1)
    assert isinstance(answer, Unavailable)
    assert answer.reason == "ConnectError"


def test_a_moderator_that_does_not_answer_in_time_is_unavailable() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        answer = ask(f"http://127.0.0.1:{listener.getsockname()[1]}", ["a red ball"], 0.2)
    assert isinstance(answer, Unavailable)
    assert answer.reason == "ReadTimeout"


@pytest.fixture
def foreign() -> Iterator[type[BaseHTTPRequestHandler]]:
    """A service of somebody else: answers every request with its `status` and `body`."""

    class Foreign(BaseHTTPRequestHandler):
        status, body, url = 200, "", ""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(self.status)
            self.end_headers()
            self.wfile.write(self.body.encode())

        def log_message(self, *_args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Foreign) as server:
        Foreign.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Foreign
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "{}"),
        (200, "not json"),
        (200, "{}"),
        (200, '{"model": "m", "results": []}'),
        (200, '{"model": "m", "results": [{"flagged": false, "category_scores": {"hate": 7}}]}'),
        (200, '{"model": "m", "results": [{"flagged": false, "category_scores": {}, "kinema": {"action": "maybe"}}]}'),
    ],
)
def test_what_is_no_answer_is_unavailable(
    status: int, body: str, foreign: type[BaseHTTPRequestHandler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "status", status)
    monkeypatch.setattr(foreign, "body", body)
    assert isinstance(ask(foreign.url, ["a red ball"], 5), Unavailable)


@pytest.mark.parametrize(("flag", "action"), [("true", "block"), ("false", "allow")])
def test_a_service_that_only_flags_is_taken_at_its_flag(
    flag: str, action: str, foreign: type[BaseHTTPRequestHandler], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f'{{"id": "1", "model": "other", "results": [{{"flagged": {flag}, "category_scores": {{"hate": 0.4}}}}]}}'
    monkeypatch.setattr(foreign, "body", body)
    verdict = ask(foreign.url, ["a red ball"], 5)
    assert isinstance(verdict, Verdict)
    assert (verdict.action, verdict.policy, verdict.model) == (action, "upstream", "other")
    assert verdict.scores["hate"] == 0.4
