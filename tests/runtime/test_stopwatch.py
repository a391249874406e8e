from __future__ import annotations

import time
from pathlib import Path

from runtime.egress import Egress
from tests.fixtures.receiver import raw_server, receiver
from tests.runtime.test_egress import answering, certificate

URL = "https://hooks.test:{port}/"


def test_every_phase_of_an_answered_request_is_timed() -> None:
    with receiver() as there:
        attempt = Egress(allow_loopback=True).post(there.url(), {}, b"{}")
    assert list(attempt.timings) == ["dns", "connect", "first_byte"]
    assert sum(attempt.timings.values()) <= attempt.duration_ms + len(attempt.timings)


def test_the_handshake_is_a_phase_of_its_own(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "hooks.test")
    with receiver(tls=server) as there:
        egress = Egress(allow_loopback=True, resolver=answering("127.0.0.1"), tls=client)
        attempt = egress.post(URL.format(port=there.port), {}, b"{}")
    assert attempt.status == 200
    assert list(attempt.timings) == ["dns", "connect", "tls", "first_byte"]


def test_a_receiver_that_hangs_shows_how_far_it_came() -> None:
    with raw_server(lambda _: time.sleep(1)) as there:
        attempt = Egress(allow_loopback=True, total_seconds=0.3).post(f"http://127.0.0.1:{there.port}/", {}, b"{}")
    assert list(attempt.timings) == ["dns", "connect"]
    assert attempt.duration_ms >= 300
