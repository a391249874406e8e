from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from domain.deliveries import ErrorClass
from runtime.egress import TOO_LARGE, WRONG_KIND, Fetched
from tests.fixtures.egress import LOCAL, answering, drip, get, got
from tests.fixtures.receiver import Answer, raw_server, receiver


def test_a_picture_is_fetched_with_nothing_but_its_url() -> None:
    with receiver((200, {"Content-Type": "Image/PNG; charset=x"}, b"pixels")) as there:
        egress = replace(LOCAL, resolver=answering("127.0.0.1"))
        outcome = get(egress, f"http://pictures.example.com:{there.port}/a.png?b=c#d")
    assert outcome == Fetched("image/png", b"pixels")
    [request] = there.requests
    assert (request.path, request.body) == ("/a.png?b=c", b"")
    assert request.headers == {
        "host": f"pictures.example.com:{there.port}",
        "accept": "image/png, text/plain",
        "accept-encoding": "identity",
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, {"content-type": "text/html"}, b"x"), WRONG_KIND),
        ((200, {}, b"x"), WRONG_KIND),
        ((200, {"content-type": "image/png"}, b"x" * 100_001), TOO_LARGE),
        ((204, {"content-type": "image/png"}, b""), "status 204"),
        ((206, {"content-type": "image/png"}, b"x"), "status 206"),
        ((404, {"content-type": "image/png"}, b"x"), "status 404"),
    ],
)
def test_only_a_whole_answer_of_the_right_kind_counts(answer: Answer, reason: str) -> None:
    with receiver(answer) as there:
        assert got(LOCAL, there.url()) == reason


IMAGE = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (IMAGE + b"content-length: 100001\r\n\r\n", TOO_LARGE),
        (IMAGE + b"content-length: 99999999999999999999\r\n\r\n", TOO_LARGE),
        (IMAGE + b"content-length: 99\r\n\r\nshort", ErrorClass.PROTOCOL),
        (IMAGE + b"transfer-encoding: chunked\r\n\r\nzz\r\n", ErrorClass.PROTOCOL),
        (b"not http\r\n\r\n", ErrorClass.PROTOCOL),
    ],
)
def test_a_broken_or_bragging_answer_is_a_failure(answer: bytes, reason: str) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    with raw_server(serve) as there:
        assert got(LOCAL, f"http://127.0.0.1:{there.port}/") == reason


def test_a_body_without_end_is_cut_off_at_the_cap() -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(IMAGE + b"\r\n")
        while True:
            sent += connection.send(b"y" * 65_536)

    with raw_server(flood) as there:
        assert got(LOCAL, f"http://127.0.0.1:{there.port}/") == TOO_LARGE
    assert sent < 20_000_000, "no more than what fits into the sockets' buffers"


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nx-slow: ", IMAGE + b"\r\n"])
def test_a_picture_that_drips_in_ends_at_the_deadline(first: bytes) -> None:
    started = time.monotonic()
    with raw_server(lambda connection: drip(connection, first)) as there:
        assert got(replace(LOCAL, total_seconds=0.5), f"http://127.0.0.1:{there.port}/") == ErrorClass.TIMEOUT
    assert 0.4 < time.monotonic() - started < 1.5
