"""Far ends that are busy, away, forgetful, hostile or wrong."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from domain.upstream import Dialect, FarEnd
from engines.protocol import Step, Unrenderable
from engines.upstream import engine as upstream
from engines.upstream import wire
from engines.upstream.engine import UpstreamEngine
from engines.upstream.wire import FarEndAway, FarEndFailed
from tests.engines.upstream import far_end as far
from tests.engines.upstream.driving import PLAN, TICKET, engine, render
from tests.engines.upstream.far_end import far_end


def test_errors_of_a_moment_are_outlasted() -> None:
    with far_end() as server:
        server.wrong.create = [(500, {}, {}), (503, {}, {"error": {"message": "loading"}})]
        server.wrong.look = [(502, {}, {}), hang_up]
        server.wrong.content = [(500, {}, {})]
        frames, _ = render(engine(server, patience_seconds=20.0))
        keys = {asked.headers["idempotency-key"] for asked in server.of("POST")}
        assert len(server.of("POST")) == 3
    assert len(frames) == 16
    assert keys == {"0a1b-7"}, "every try of one create has one key"


def hang_up(handler: far.Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def test_a_lost_answer_to_a_create_is_asked_for_again_under_the_same_key() -> None:
    with far_end() as server:
        server.wrong.create = [hang_up]
        render(engine(server, patience_seconds=10.0))
        assert [asked.headers["idempotency-key"] for asked in server.of("POST")] == ["0a1b-7"] * 2


def test_a_busy_far_end_is_left_alone_for_as_long_as_it_asks() -> None:
    with far_end() as server:
        server.wrong.create = [(429, {"retry-after": "1"}, {"error": {"message": "slow down"}})]
        begun = time.monotonic()
        render(engine(server, patience_seconds=10.0))
        assert time.monotonic() - begun >= 1.0


def test_a_far_end_that_asks_for_more_than_the_patience_is_away() -> None:
    with far_end() as server:
        server.wrong.create = [(429, {"retry-after": "600"}, {})]
        with pytest.raises(FarEndAway, match="429"):
            render(engine(server))


def test_nobody_there_is_away_and_a_later_attempt_may_find_it() -> None:
    with far_end() as server:
        made = engine(server, patience_seconds=1.5)
    steps: list[Step] = []
    with pytest.raises(FarEndAway):
        next(made.render(PLAN, TICKET, steps.append))
    assert set(steps) == {Step("wait", 0, 0)}, "no sign of life, and still a chance to interrupt"


def test_a_refusal_is_final_and_its_words_are_cut_and_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    with far_end(key="sk-right") as server, pytest.raises(Unrenderable) as caught:
        render(engine(server, key="sk-wrong"))
    assert caught.value.code == "upstream_refused"
    assert "Incorrect API key" in str(caught.value)
    assert "sk-wrong" not in str(caught.value) + caplog.text
    with far_end() as server:
        server.wrong.create = [(400, {}, {"error": {"message": "x\n" * 10_000}})]
        with pytest.raises(Unrenderable) as caught:
            render(engine(server))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_the_key_is_sent_and_opens() -> None:
    with far_end(key="sk-right") as server:
        frames, _ = render(engine(server, key="sk-right"))
    assert len(frames) == 16


@pytest.mark.parametrize("code", ["sentinel_block", "moderation_blocked"])
def test_a_far_end_that_moderates_is_believed(code: str) -> None:
    with far_end() as server:
        server.wrong.create = [(400, {}, {"error": {"message": "no", "code": code}})]
        with pytest.raises(Unrenderable) as at_create:
            render(engine(server))
        server.wrong.error = {"message": "no", "code": code}
        with pytest.raises(Unrenderable) as at_end:
            render(engine(server))
    assert at_create.value.code == at_end.value.code == "moderation_blocked"


@pytest.mark.parametrize("error", [{"message": "out of memory"}, {"code": "oom", "message": "out of memory"}])
def test_a_render_that_failed_may_be_tried_again(error: dict[str, str]) -> None:
    with far_end("sglang") as server:
        server.wrong.error = error
        with pytest.raises(FarEndFailed, match="out of memory"):
            render(engine(server))
        assert server.jobs == {}


def test_a_kinema_has_tried_again_itself() -> None:
    with far_end("kinema") as server:
        server.wrong.error = {"code": "render_failed", "message": "The model could not render this video."}
        with pytest.raises(Unrenderable, match="render_failed") as caught:
            render(engine(server))
    assert caught.value.code == "render_failed"


def test_a_far_end_that_was_restarted_is_asked_once_more() -> None:
    def restarted(handler: far.Handler) -> None:
        handler.server.forget()
        handler.refuse(404, "Video not found")

    with far_end() as server:
        server.wrong.look = [restarted]
        frames, _ = render(engine(server))
        keys = [asked.headers["idempotency-key"] for asked in server.of("POST")]
    assert len(frames) == 16
    assert keys == ["0a1b-7", "0a1b-7-again"], "the old key may still stand for the video that is lost"


def test_a_far_end_that_forgets_again_and_again_has_failed() -> None:
    with far_end(seconds=30) as server:
        server.wrong.look = [(404, {}, {"error": {"message": "not found"}})] * 2
        with pytest.raises(FarEndFailed, match="twice"):
            render(engine(server))
        assert len(server.of("POST")) == 2


def test_a_file_that_comes_a_moment_late_is_waited_for() -> None:
    with far_end("sglang") as server:
        server.wrong.content = [(404, {}, {"detail": "Generation is still in-progress"})]
        frames, _ = render(engine(server))
        assert len(server.of("POST")) == 1, "it was not forgotten"
    assert len(frames) == 16


def cut(handler: far.Handler) -> None:
    (job,) = handler.server.jobs.values()
    whole = handler.drawn(job)
    handler.send(200, {"content-length": str(len(whole))}, whole[: len(whole) // 2])
    handler.close_connection = True


def test_a_download_that_breaks_off_begins_again() -> None:
    with far_end() as server:
        server.wrong.content = [cut]
        frames, _ = render(engine(server, patience_seconds=10.0))
        assert len(server.of("GET", "/content")) == 2
    assert len(frames) == 16


def test_a_far_end_that_redirects_is_refused() -> None:
    with far_end() as server:
        server.wrong.content = [(302, {"location": "http://127.0.0.1:1/elsewhere"}, {})]
        with pytest.raises(Unrenderable, match="302"):
            render(engine(server))


def test_a_far_end_that_hangs_is_away_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    with far_end() as server:
        made = engine(server, patience_seconds=1.0)
        monkeypatch.setattr(wire, "TIMEOUT", httpx.Timeout(0.5))
        server.wrong.look = [lambda _: released.wait(20)] * 5
        begun = time.monotonic()
        with pytest.raises(FarEndAway, match="ReadTimeout"):
            render(made)
        assert time.monotonic() - begun < 8
        assert len(server.of("DELETE")) == 1
        released.set()


def test_the_key_comes_from_a_file_or_the_environment_and_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("sk-file\n")
    there = FarEnd(url="http://far/v1", dialect=Dialect.OPENAI)
    monkeypatch.setenv("FAR_KEY", "sk-env")
    assert upstream.key_of(replace(there, key_file=str(tmp_path / "key"))) == "sk-file"
    assert upstream.key_of(replace(there, key_env="FAR_KEY")) == "sk-env"
    assert upstream.key_of(there) == ""
    with pytest.raises(ValueError, match="NO_KEY holds no key"):
        UpstreamEngine.load(replace(there, key_env="NO_KEY"))


def test_proxy_variables_count_only_if_the_operator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with far_end() as server:
        frames, _ = render(engine(server))
        assert len(frames) == 16
        with pytest.raises(FarEndAway):
            render(engine(server, proxies=True, patience_seconds=0.5))
