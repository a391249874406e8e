from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest

from domain.lifecycle import State
from tests.chaos.cluster import STRIKES, TEMPERS
from tests.chaos.faults import KINDS, outages, schedule
from tests.chaos.load import Load
from tests.chaos.proxy import CALM, FaultProxy, Temper
from tests.chaos.receiver import DOWN_SECONDS, Receiver
from tests.chaos.recovery import Struck, recoveries
from tests.chaos.report import Report, illegal
from tests.chaos.run import Outcome
from tests.chaos.summary import summary
from tests.fixtures.videos import World


def test_a_seed_gives_the_same_faults_and_another_one_others() -> None:
    assert schedule(1, 120) == schedule(1, 120)
    assert schedule(1, 120) != schedule(2, 120)


@pytest.mark.parametrize("seed", range(1, 6))
def test_two_minutes_have_every_kind_of_fault(seed: int) -> None:
    faults = schedule(seed, 120)
    assert {fault.kind for fault in faults} == {kind.name for kind in KINDS}
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert faults[-1].at < 120


def test_every_kind_can_be_struck() -> None:
    for kind in KINDS:
        what, *rest = kind.name.split()
        assert what in STRIKES or (what in {"store", "postgres", "valkey"} and rest[0] in TEMPERS), kind.name


def test_outages_of_the_store_are_spread_over_the_run() -> None:
    assert [(fault.at, fault.seconds) for fault in outages(240, 2, 30)] == [(65, 30), (145, 30)]


def test_recovery_is_the_time_to_the_next_claim_and_the_next_end() -> None:
    faults = [Struck(0, 100.0, "a", 0), Struck(10, 110.0, "a", 0), Struck(20, 120.0, "b", 0)]
    a, b = recoveries(faults, claims=[101.0, 113.0], ends=[104.0, 112.0])
    assert (a.times, a.claim_p50, a.claim_max, a.done_p50, a.done_max) == (2, 2.0, 3.0, 3.0, 4.0)
    assert (b.claim_max, b.done_max) == (None, None)


def test_a_receiver_that_flaps_takes_a_message_the_second_time() -> None:
    receiver = Receiver()
    assert receiver.take("evt", b'{"data": {"id": "video_1"}}') == 500
    receiver.begun_at -= DOWN_SECONDS
    assert receiver.take("evt", b'{"data": {"id": "video_1"}}') == 200
    assert receiver.take("evt", b'{"data": {"id": "video_1"}}') == 200
    assert (receiver.refused, receiver.repeated, receiver.told) == (1, 1, {"evt": "video_1"})


class Unfriendly(BaseHTTPRequestHandler):
    """Knows nobody."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_a_load_that_is_refused_says_so_and_is_no_success() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unfriendly)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    load = Load((url, url), "key", seed=1, videos=3, seconds=0.1)
    load.start().join(10)
    server.shutdown()
    server.server_close()
    assert load.refusal is not None
    assert not outcome(refusal=load.refusal).good


def outcome(refusal: str | None = None, **counts: int) -> Outcome:
    found = Report(**{**dict.fromkeys(Report.__dataclass_fields__, 0), "failures": {}, **counts})
    return Outcome(1, found, (), (), 1.0, 1.0, 0.1, 1, 0, refusal, 0)


def test_a_run_is_good_only_if_all_that_was_asked_for_came_to_the_end_asked_for() -> None:
    assert outcome(completed=3).good
    assert not outcome(not_accepted=1).good
    assert not outcome(cancelled_unasked=1).good
    assert "BROKEN: not accepted 1" in summary(outcome(not_accepted=1), "again")


@pytest.fixture
def echo() -> Iterator[FaultProxy]:
    """A proxy before a server that says what it is told."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(near,), daemon=True).start()

    def answer(near: socket.socket) -> None:
        with near, contextlib.suppress(ConnectionError):
            while data := near.recv(100):
                near.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield FaultProxy(listener.getsockname()[1])
    listener.close()


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=2)


def said(client: socket.socket) -> bytes:
    client.settimeout(0.5)
    client.sendall(b"hello")
    return client.recv(100)


def test_a_calm_proxy_passes_everything_on(echo: FaultProxy) -> None:
    with connected(echo) as client:
        assert said(client) == b"hello"


@pytest.mark.parametrize("temper", [Temper(refuses=True), Temper(resets=True)])
def test_a_proxy_resets_what_is_open_and_recovers(echo: FaultProxy, temper: Temper) -> None:
    with connected(echo) as client:
        assert said(client) == b"hello"
        echo.behave(temper)
        with pytest.raises(ConnectionError):
            said(client)
    echo.behave(CALM)
    with connected(echo) as client:
        assert said(client) == b"hello"


def test_a_proxy_that_swallows_lets_go_of_it_later(echo: FaultProxy) -> None:
    echo.behave(Temper(swallows=True))
    with connected(echo) as client:
        with pytest.raises(TimeoutError):
            said(client)
        echo.behave(CALM)
        client.settimeout(2)
        assert client.recv(100) == b"hello"


def test_the_report_sees_an_event_that_the_table_does_not_allow(world: World, owner_url: str) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    with psycopg.connect(owner_url.replace("+psycopg", "")) as connection:
        assert illegal(connection) == 0
        connection.execute(
            "INSERT INTO events (tenant_id, video_id, seq, type, data) VALUES (%s, %s, 4, %s, '{}')",
            (tenant, video_id, State.COMPLETED),
        )
        assert illegal(connection) == 1
        connection.rollback()
