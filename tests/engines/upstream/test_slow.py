"""Far ends that answer late, drop by drop, too much, or nonsense: nobody waits for them longer than he may."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from domain.upstream import Dialect
from domain.upstream import FarEnd as Options
from engines.protocol import Interrupted, Step, Unrenderable
from engines.upstream import wire
from engines.upstream.wire import FarEndAway, FarEndFailed, Wire
from tests.engines.upstream import far_end as far
from tests.engines.upstream.driving import PLAN, TICKET, engine, render
from tests.engines.upstream.far_end import far_end
from tests.engines.upstream.test_faults import hang_up
from tests.engines.upstream.test_progress import interrupt_after


@contextmanager
def within(seconds: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


def soon(happened: Callable[[], bool]) -> bool:
    over_at = time.monotonic() + 5
    while not happened() and time.monotonic() < over_at:
        time.sleep(0.02)
    return happened()


def drip(head: bytes) -> Callable[[far.Handler], None]:
    """Begins like this, and then goes on with a byte from time to time."""

    def answer(handler: far.Handler) -> None:
        handler.wfile.write(head)
        over_at = time.monotonic() + 20
        handler.close_connection = True
        while time.monotonic() < over_at:
            handler.wfile.write(b" ")
            time.sleep(0.1)

    return answer


BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n"
HEADER = b"HTTP/1.1 200 OK\r\nx: "


@pytest.mark.parametrize("after", ["nan", "inf", "-inf", "-5", "1e999"])
def test_a_wait_that_is_none_is_not_waited_for_and_ends_with_the_patience(after: str) -> None:
    with far_end() as server:
        server.wrong.create = [(429, {"retry-after": after}, {})] * 2000
        with within(5), pytest.raises(FarEndAway, match="429"):
            render(engine(server, patience_seconds=1.0))
        assert len(server.of("POST")) < 5


def test_a_deletion_is_confirmed_by_its_first_line() -> None:
    with far_end() as server, Wire(Options(url=server.url, dialect=Dialect.OPENAI), "") as asked:
        server.wrong.delete = [drip(BODY)]
        with within(1):
            assert asked.remove("video_1")


def test_a_deletion_whose_first_line_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "REMOVE_SECONDS", 0.3)
    with far_end() as server, Wire(Options(url=server.url, dialect=Dialect.OPENAI), "") as asked:
        server.wrong.delete = [drip(HEADER)] * 3
        with within(5):
            assert not asked.remove("video_1")


@pytest.mark.parametrize("head", [BODY, HEADER])
def test_a_look_that_drips_leaves_the_render_awake_and_ends_with_the_patience(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LOOK_SECONDS", 0.1)
    told: list[float] = []
    with far_end() as server:
        server.wrong.look = [drip(head)] * 9
        with within(5), pytest.raises(FarEndAway, match="too slowly"):
            next(engine(server, patience_seconds=1.5).render(PLAN, TICKET, lambda _: told.append(time.monotonic())))
        assert len(server.of("DELETE")) == 1
    assert max(later - earlier for earlier, later in itertools.pairwise(told)) < 0.9


def test_an_interrupt_is_seen_while_a_look_drips() -> None:
    with far_end() as server:
        server.wrong.look = [drip(BODY)] * 9
        with within(2), pytest.raises(Interrupted):
            next(engine(server).render(PLAN, TICKET, interrupt_after(0.4)))
        assert server.jobs == {}


def test_a_file_that_drips_ends_with_the_time_for_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LOOK_SECONDS", 0.1)
    steps: list[Step] = []
    with far_end() as server:
        server.wrong.content = [drip(BODY)] * 9
        with within(6), pytest.raises(FarEndAway, match="too slowly"):
            next(engine(server, patience_seconds=0.5, timeout_seconds=2.0).render(PLAN, TICKET, steps.append))
        assert server.jobs == {}
    assert len(set(steps)) > 4, "what arrives is a sign of life"


def test_a_long_error_page_is_a_moments_error_all_the_same() -> None:
    def page(handler: far.Handler) -> None:
        handler.send(500, {"content-type": "text/html"}, b"<p>" * 400_000)
        handler.close_connection = True

    with far_end() as server:
        server.wrong.create, server.wrong.look = [page], [page]
        frames, _ = render(engine(server, patience_seconds=10.0))
    assert len(frames) == 16


def test_an_answer_without_an_end_is_not_read_on() -> None:
    with far_end() as server:
        server.wrong.look = [lambda handler: handler.send(200, {}, b"1" * 1_200_000)]
        with pytest.raises(FarEndFailed, match="too long"):
            render(engine(server))


DEEP = b'{"error":' * 100_000


def test_json_that_is_nested_too_deeply_is_none() -> None:
    with far_end() as server:
        server.wrong.create = [lambda handler: handler.send(200, {}, DEEP)]
        server.wrong.look = [lambda handler: handler.send(500, {}, DEEP)]
        frames, _ = render(engine(server, patience_seconds=10.0))
        assert len(frames) == 16
        server.wrong.create = [lambda handler: handler.send(400, {}, DEEP[:60_000])]
        with pytest.raises(Unrenderable) as caught:
            render(engine(server))
    assert caught.value.code == "upstream_refused"


def late(seconds: float) -> Callable[[far.Handler], None]:
    """Makes the video at once and says so later, as a server that reads the pictures first."""

    def create(handler: far.Handler) -> None:
        job = handler.begin(handler.server.asked[-1])
        time.sleep(seconds)
        handler.answer(200, {"id": job.id, "status": "queued"})

    return create


def test_a_create_that_is_answered_late_can_be_interrupted_and_its_video_is_removed() -> None:
    with far_end(seconds=30) as server:
        server.wrong.create = [late(1.2)]
        with within(2.2), pytest.raises(Interrupted):
            next(engine(server).render(PLAN, TICKET, interrupt_after(0.3)))
        assert len(server.made) == 1
        assert server.jobs == {}


def test_a_create_that_is_answered_much_later_is_removed_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "GRACE_SECONDS", 0.1)
    with far_end(seconds=30) as server:
        server.wrong.create = [late(2.0)]
        with within(1.5), pytest.raises(Interrupted):
            next(engine(server).render(PLAN, TICKET, interrupt_after(0.3)))
        assert len(server.jobs) == 1
        assert soon(lambda: server.jobs == {})


def lost(handler: far.Handler) -> None:
    handler.begin(handler.server.asked[-1])
    hang_up(handler)


@pytest.mark.parametrize("how", ["interrupted", "away"])
def test_a_kinema_is_asked_again_for_the_id_of_a_video_that_nobody_wants_any_more(how: str) -> None:
    with far_end("kinema", seconds=30) as server:
        server.wrong.create = [lost]
        patience, over_in = (10.0, 0.2) if how == "interrupted" else (0.2, math.inf)
        with within(3), pytest.raises(Interrupted if how == "interrupted" else FarEndAway):
            next(engine(server, patience_seconds=patience).render(PLAN, TICKET, interrupt_after(over_in)))
        assert [asked.headers["idempotency-key"] for asked in server.of("POST")] == ["0a1b-7"] * 2
        assert len(server.made) == 1
        assert server.jobs == {}


def test_a_kinema_that_surely_began_nothing_is_not_asked_again() -> None:
    with far_end("kinema") as server:
        server.wrong.create = [(429, {"retry-after": "60"}, {"error": {"message": "slow down"}})]
        with pytest.raises(FarEndAway, match="slow down"):
            render(engine(server))
        assert len(server.of("POST")) == 1
        assert server.made == []
