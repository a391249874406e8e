"""HTTP to a URL that a user chose, which must never reach what only we can reach (SSRF).

The name is resolved once, every address is judged, and the connection goes to a judged address, while Host, SNI and
the certificate check keep the name. So no answer of a second lookup, no redirect and no proxy variable has a say.
`httpcore` rather than `httpx` because its network backend is a public argument and it reads no environment.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import TypeVar

import httpcore
import httpx

from domain.addresses import Address
from domain.deliveries import MAX_RESPONSE, Attempt, ErrorClass, retry_after_seconds
from domain.targets import Refusal, Target, parse_target
from runtime.pinning import PinnedBackend, TlsFailed
from runtime.stopwatch import Stopwatch

log = logging.getLogger(__name__)

RESOLVE_SECONDS = 5.0
TOTAL_SECONDS = 20.0
_MAX_ADDRESSES = 4  # that are tried in turn

TOO_LARGE = "too large"
WRONG_KIND = "wrong kind"
_LENGTH_DIGITS = 15

Resolver = Callable[[str, int], Sequence[Address]]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a GET brought. `kind` is the media type that the server declared, which need not be true."""

    kind: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unfetched:
    """Why a GET brought nothing: an ErrorClass, TOO_LARGE, WRONG_KIND or `status N`."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """How requests leave. The defaults are those of production."""

    allow_loopback: bool = False
    total_seconds: float = TOTAL_SECONDS
    resolver: Resolver | None = None  # None: the system's
    tls: ssl.SSLContext | None = None  # None: the public authorities, or SSL_CERT_FILE

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Send once and say what happened. Any 2xx is a success; every failure is a value, never an exception."""
        started = time.monotonic()
        request = _Request("POST", headers, body)
        try:
            outcome = self._send(url, request, _answer)
        except Exception:  # an answer that nobody foresaw is the receiver's fault, and must not end its sender
            log.exception("an answer could not be understood")
            outcome = ErrorClass.PROTOCOL
        duration_ms, timings = round((time.monotonic() - started) * 1000), request.watch.timings
        if isinstance(outcome, ErrorClass):
            return Attempt(duration_ms, error=outcome, timings=timings)
        error = None if 200 <= outcome.status < 300 else ErrorClass.HTTP
        return Attempt(duration_ms, outcome.status, error, outcome.body, outcome.retry_after, timings)

    def get(self, url: str, *, kinds: Sequence[str], most_bytes: int) -> Fetched | Unfetched:
        """The whole body of a 200 whose media type is one of `kinds`; every failure is a value, never an exception."""
        request = _Request("GET", {"accept": ", ".join(kinds), "accept-encoding": "identity"})
        outcome = self._send(url, request, partial(_whole, kinds=kinds, most_bytes=most_bytes))
        return Unfetched(str(outcome)) if isinstance(outcome, ErrorClass) else outcome

    def _send(self, url: str, request: _Request, read: Callable[[httpcore.Response], _T]) -> _T | ErrorClass:
        deadline = time.monotonic() + self.total_seconds
        target = parse_target(url, allow_loopback=self.allow_loopback)
        if isinstance(target, Refusal):
            return ErrorClass.TARGET
        addresses = self._addresses(target)
        if isinstance(addresses, ErrorClass):
            return addresses
        request.watch.lap("dns")
        backend = PinnedBackend(addresses, deadline)
        return _exchange(target, request, read, backend, self.tls or _public_authorities())

    def _addresses(self, target: Target) -> Sequence[Address] | ErrorClass:
        """Every address of the host; an error if there is none, or if a single one is refused."""
        literal = target.literal
        addresses = [literal] if literal else self._resolve(target.host, target.port)
        if not addresses:
            return ErrorClass.DNS
        if any(target.refuses(address) is not None for address in addresses):
            return ErrorClass.TARGET
        return addresses[:_MAX_ADDRESSES]

    def _resolve(self, host: str, port: int) -> Sequence[Address]:
        """The host's addresses; none if it has none or the answer takes too long.

        The C library's lookup has no time limit, so it runs on a thread that is left behind when it is late.
        """
        answers: SimpleQueue[Sequence[Address]] = SimpleQueue()

        def look_up() -> None:
            try:
                answers.put((self.resolver or _ask_system)(host, port))
            except (OSError, ValueError):  # unknown name; a label that cannot be encoded
                answers.put(())

        threading.Thread(target=look_up, name="resolve", daemon=True).start()
        try:
            return answers.get(timeout=min(RESOLVE_SECONDS, self.total_seconds))
        except Empty:
            return ()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    headers: Mapping[str, str]
    body: bytes | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float | None


def _ask_system(host: str, port: int) -> Sequence[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(address[0]) for *_, address in found))


def _exchange(
    target: Target,
    request: _Request,
    read: Callable[[httpcore.Response], _T],
    backend: PinnedBackend,
    tls: ssl.SSLContext,
) -> _T | ErrorClass:
    url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    headers, body = list(request.headers.items()), request.body
    extensions = {"trace": request.watch.trace}
    try:
        with (
            httpcore.ConnectionPool(tls, max_connections=1, network_backend=backend) as pool,
            pool.stream(request.method, url, headers=headers, content=body, extensions=extensions) as response,
        ):
            return read(response)
    except TlsFailed:
        return ErrorClass.TLS
    except httpcore.TimeoutException:
        return ErrorClass.TIMEOUT
    except httpcore.NetworkError:
        return ErrorClass.CONNECTION
    except httpcore.ProtocolError:
        return ErrorClass.PROTOCOL


def _answer(response: httpcore.Response) -> _Answer:
    return _Answer(response.status, _beginning(response), _retry_after(response))


def _whole(response: httpcore.Response, *, kinds: Sequence[str], most_bytes: int) -> Fetched | Unfetched:
    """Status, type and declared length are judged before a byte of the body is read."""
    if response.status != 200:
        return Unfetched(f"status {response.status}")
    kind = (_header(response, b"content-type") or "").partition(";")[0].strip().lower()
    if kind not in kinds:
        return Unfetched(WRONG_KIND)
    length = _header(response, b"content-length") or "0"
    if len(length) > _LENGTH_DIGITS or int(length) > most_bytes:  # h11 has checked that it is a number
        return Unfetched(TOO_LARGE)
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > most_bytes:
            return Unfetched(TOO_LARGE)
    return Fetched(kind, bytes(body))


def _beginning(response: httpcore.Response) -> bytes:
    """The first bytes of the body. The status counts even if the body is cut short."""
    kept = b""
    try:
        for chunk in response.iter_stream():
            kept += chunk
            if len(kept) >= MAX_RESPONSE:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass
    return kept[:MAX_RESPONSE]


def _retry_after(response: httpcore.Response) -> float | None:
    value = _header(response, b"retry-after")
    return None if value is None else retry_after_seconds(value, datetime.now(UTC))


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for each, value in response.headers if each.lower() == name), None)


@cache
def _public_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()
