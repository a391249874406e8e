from __future__ import annotations

import itertools
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from domain.addresses import Address
from domain.deliveries import MAX_RESPONSE, ErrorClass
from runtime.egress import Egress
from tests.domain.test_addresses import AWKWARD, ORDINARY
from tests.fixtures.egress import LOCAL, answering, drip, got, post, posted
from tests.fixtures.receiver import Answer, Canary, canary, raw_server, receiver

PNG: Answer = (200, {"content-type": "image/png"}, b"pixels")
SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "0",
    "0.0.0.0",  # noqa: S104 - a spelling under test, nothing binds to it
    "localhost",
    "LOCALHOST",
    "127.0.0.1.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::1%25lo]",
    "①②⑦.⓪.⓪.①",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
]


@pytest.fixture
def trap() -> Iterator[Canary]:
    with canary() as there:
        yield there


# Whatever must reach nothing is asked for both ways: as a webhook is sent, and as a picture is fetched.
both = pytest.mark.parametrize("send", [posted, got])
Send = Callable[[Egress, str], str | None]


@both
def test_the_canary_would_notice(trap: Canary, send: Send) -> None:
    for host in ("127.0.0.1", "[::1]"):
        assert send(LOCAL, f"http://{host}:{trap.port}/") in {ErrorClass.PROTOCOL, ErrorClass.CONNECTION}
    assert trap.connections == 2


@both
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_this_machine_is_connected_to(trap: Canary, send: Send, scheme: str, host: str) -> None:
    assert send(Egress(), f"{scheme}://{host}:{trap.port}/") == ErrorClass.TARGET
    assert trap.connections == 0


@both
def test_a_name_that_resolves_to_a_refused_address_is_not_connected_to(trap: Canary, send: Send) -> None:
    for address in AWKWARD + ORDINARY:
        egress = Egress(resolver=answering(address))
        assert send(egress, f"https://hooks.example.com:{trap.port}/") == ErrorClass.TARGET, address
        literal = f"[{address}]" if ":" in address else address
        assert send(Egress(), f"https://{literal}:{trap.port}/") == ErrorClass.TARGET, address
    assert trap.connections == 0


@both
def test_one_refused_address_among_public_ones_refuses_all(trap: Canary, send: Send) -> None:
    egress = Egress(resolver=answering("93.184.215.14", "127.0.0.1"))
    assert send(egress, f"https://hooks.example.com:{trap.port}/") == ErrorClass.TARGET
    assert trap.connections == 0


@both
def test_a_name_that_changes_its_address_after_the_check_gains_nothing(trap: Canary, send: Send) -> None:
    answers = itertools.chain(["93.184.215.14"], itertools.repeat("127.0.0.1"))
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> Sequence[Address]:
        asked.append(host)
        return [ip_address(next(answers))]

    failure = send(Egress(resolver=rebinding, total_seconds=0.3), f"https://hooks.example.com:{trap.port}/")
    assert failure in {ErrorClass.CONNECTION, ErrorClass.TIMEOUT}
    assert asked == ["hooks.example.com"], "resolved once"
    assert trap.connections == 0


@both
def test_letting_loopback_through_lets_http_reach_nothing_else(trap: Canary, send: Send) -> None:
    for address in ["10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "93.184.215.14"]:
        egress = replace(LOCAL, resolver=answering(address))
        assert send(egress, f"http://hooks.example.com:{trap.port}/") == ErrorClass.TARGET
    assert trap.connections == 0


def test_a_redirect_is_an_answer_and_is_not_followed(trap: Canary) -> None:
    for status in (301, 302, 303, 307, 308):
        with receiver((status, {"location": f"http://127.0.0.1:{trap.port}/"}, b"")) as there:
            attempt = post(LOCAL, there.url())
        assert (attempt.status, attempt.error) == (status, ErrorClass.HTTP)
        with receiver(
            (status, {"location": f"http://127.0.0.1:{trap.port}/", "content-type": "image/png"}, b"")
        ) as there:
            assert got(LOCAL, there.url()) == f"status {status}"
    assert trap.connections == 0


def test_proxy_variables_are_ignored(trap: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with receiver() as there:
        assert post(LOCAL, there.url()).status == 200
        there.answers.append(PNG)
        assert got(LOCAL, there.url()) is None
        assert len(there.requests) == 2
    assert trap.connections == 0


def test_the_request_arrives_as_it_was_meant() -> None:
    with receiver() as there:
        egress = replace(LOCAL, resolver=answering("127.0.0.1"))
        attempt = egress.post(f"http://hooks.example.com:{there.port}/a%20b?c=d", {"x-one": "1"}, b"\x00body")
    [request] = there.requests
    assert (attempt.status, attempt.error, attempt.response) == (200, None, b"thanks")
    assert (request.path, request.body) == ("/a%20b?c=d", b"\x00body")
    assert request.headers == {"host": f"hooks.example.com:{there.port}", "x-one": "1", "content-length": "5"}


def test_the_next_address_is_tried_when_one_does_not_accept() -> None:
    with receiver() as there:
        egress = replace(LOCAL, resolver=answering("::1", "127.0.0.1"))
        assert post(egress, f"http://hooks.example.com:{there.port}/").status == 200


def test_a_slow_resolver_is_given_up() -> None:
    def slow(_host: str, _port: int) -> Sequence[Address]:
        time.sleep(1)
        return []

    started = time.monotonic()
    assert post(Egress(resolver=slow, total_seconds=0.1), "https://hooks.example.com/").error is ErrorClass.DNS
    assert time.monotonic() - started < 0.9


def test_a_name_without_an_address_is_a_dns_failure() -> None:
    def unknown(_host: str, _port: int) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    for resolver in (unknown, answering()):
        assert post(Egress(resolver=resolver), "https://hooks.example.com/").error is ErrorClass.DNS
    assert post(Egress(), "https://no-such-host.invalid/").error is ErrorClass.DNS


def test_a_closed_port_is_a_connection_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert post(LOCAL, f"http://127.0.0.1:{port}/").error is ErrorClass.CONNECTION


def test_an_answer_that_is_not_http_is_a_protocol_failure() -> None:
    with raw_server(lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n")) as there:
        assert post(LOCAL, f"http://127.0.0.1:{there.port}/").error is ErrorClass.PROTOCOL


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"\x00" * 100,
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\x00: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\nzzz",
    ],
)
def test_an_answer_that_breaks_the_rules_is_a_value_and_never_a_success(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    with raw_server(serve) as there:
        attempt = post(LOCAL, f"http://127.0.0.1:{there.port}/")
    assert attempt.error in {ErrorClass.PROTOCOL, ErrorClass.CONNECTION, ErrorClass.HTTP}


@pytest.mark.parametrize("body", [b"transfer-encoding: chunked\r\n\r\nzz\r\n", b"content-length: 99\r\n\r\nshort"])
def test_a_broken_body_does_not_undo_a_success(body: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + body)

    with raw_server(serve) as there:
        attempt = post(LOCAL, f"http://127.0.0.1:{there.port}/")
    assert (attempt.status, attempt.error) == (200, None)


def test_what_nobody_foresaw_is_a_value_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as there:
        attempt = LOCAL.post(there.url(), {"x-note": "no header can say \u20ac"}, b"{}")
    assert (attempt.status, attempt.error) == (None, ErrorClass.PROTOCOL)
    assert "an answer could not be understood" in caplog.messages


def test_a_retry_after_beyond_all_dates_is_no_failure_of_ours() -> None:
    with receiver((503, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"}, b"")) as there:
        attempt = LOCAL.post(there.url(), {}, b"{}")
    assert (attempt.status, attempt.error, attempt.retry_after) == (503, ErrorClass.HTTP, None)


def test_headers_that_drip_in_end_at_the_deadline() -> None:
    with raw_server(lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\nx-slow: ")) as there:
        attempt = post(replace(LOCAL, total_seconds=0.5), f"http://127.0.0.1:{there.port}/")
    assert (attempt.status, attempt.error) == (None, ErrorClass.TIMEOUT)
    assert 450 < attempt.duration_ms < 1500


def test_informational_answers_without_end_are_cut_at_the_deadline() -> None:
    def inform(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    with raw_server(inform) as there:
        attempt = post(replace(LOCAL, total_seconds=0.5), f"http://127.0.0.1:{there.port}/")
    assert (attempt.status, attempt.error) == (None, ErrorClass.TIMEOUT)
    assert attempt.duration_ms < 1500


def test_a_body_that_drips_in_ends_at_the_deadline_and_the_status_counts() -> None:
    with raw_server(lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\n\r\n")) as there:
        attempt = post(replace(LOCAL, total_seconds=0.5), f"http://127.0.0.1:{there.port}/")
    assert (attempt.status, attempt.error) == (200, None)
    assert attempt.response.startswith(b"x")
    assert 450 < attempt.duration_ms < 1500


def test_an_endless_body_is_cut() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            connection.sendall(b"y" * 65_536)

    with raw_server(flood) as there:
        attempt = post(LOCAL, f"http://127.0.0.1:{there.port}/")
    assert attempt.status == 500
    assert attempt.response == b"y" * MAX_RESPONSE


def test_retry_after_is_read() -> None:
    with receiver((503, {"Retry-After": "17"}, b"")) as there:
        assert post(LOCAL, there.url()).retry_after == 17


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server context with a certificate for the name, and a client context that trusts only it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(made.public_bytes(Encoding.PEM) + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=made.public_bytes(Encoding.PEM).decode())


def test_tls_is_checked_against_the_name_though_the_address_is_pinned(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "hooks.example.com")
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    egress = replace(LOCAL, resolver=answering("127.0.0.1"), tls=client)
    with receiver(tls=server) as there:
        assert post(egress, f"https://hooks.example.com:{there.port}/").status == 200
        assert names == ["hooks.example.com"]
        assert post(egress, f"https://other.example.com:{there.port}/").error is ErrorClass.TLS


def test_a_certificate_that_nobody_trusts_is_refused(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, "hooks.example.com")
    with receiver(tls=server) as there:
        egress = replace(LOCAL, resolver=answering("127.0.0.1"))
        assert post(egress, f"https://hooks.example.com:{there.port}/").error is ErrorClass.TLS
    assert there.requests == []
