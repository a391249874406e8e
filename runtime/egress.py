"""HTTP POST to a URL that a user chose, which must never reach what only we can reach (SSRF).

The name is resolved once, every address is judged, and the connection goes to a judged address, while Host, SNI and
the certificate check keep the name. So no answer of a second lookup, no redirect and no proxy variable has a say.
`httpcore` rather than `httpx` because its network backend is a public argument and it reads no environment.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any

import httpcore
import httpx

from domain.addresses import Address
from domain.deliveries import MAX_RESPONSE, Attempt, ErrorClass, retry_after_seconds
from domain.targets import Refusal, Target, parse_target

RESOLVE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 20.0
_MAX_ADDRESSES = 4  # that are tried in turn

Resolver = Callable[[str, int], Sequence[Address]]


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
        outcome = self._post(url, headers, body, started + self.total_seconds)
        duration_ms = round((time.monotonic() - started) * 1000)
        if isinstance(outcome, ErrorClass):
            return Attempt(duration_ms, error=outcome)
        error = None if 200 <= outcome.status < 300 else ErrorClass.HTTP
        return Attempt(duration_ms, outcome.status, error, outcome.body, outcome.retry_after)

    def _post(self, url: str, headers: Mapping[str, str], body: bytes, deadline: float) -> _Answer | ErrorClass:
        target = parse_target(url, allow_loopback=self.allow_loopback)
        if isinstance(target, Refusal):
            return ErrorClass.TARGET
        addresses = self._addresses(target)
        if isinstance(addresses, ErrorClass):
            return addresses
        return _exchange(target, headers, body, _Backend(addresses, deadline), self.tls or _public_authorities())

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
class _Answer:
    status: int
    body: bytes
    retry_after: float | None


class _TlsFailed(httpcore.ConnectError):
    """The handshake failed."""


def _ask_system(host: str, port: int) -> Sequence[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(address[0]) for *_, address in found))


def _exchange(
    target: Target, headers: Mapping[str, str], body: bytes, backend: _Backend, tls: ssl.SSLContext
) -> _Answer | ErrorClass:
    url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    try:
        with (
            httpcore.ConnectionPool(tls, max_connections=1, network_backend=backend) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
        ):
            return _Answer(response.status, _beginning(response), _retry_after(response))
    except _TlsFailed:
        return ErrorClass.TLS
    except httpcore.TimeoutException:
        return ErrorClass.TIMEOUT
    except httpcore.NetworkError:
        return ErrorClass.CONNECTION
    except httpcore.ProtocolError:
        return ErrorClass.PROTOCOL


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
    values = [value for name, value in response.headers if name.lower() == b"retry-after"]
    return retry_after_seconds(values[0].decode("latin-1"), datetime.now(UTC)) if values else None


@cache
def _public_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class _Backend(httpcore.NetworkBackend):
    """Connects to the vetted addresses, whatever name it is asked for, and lets nothing pass the deadline."""

    def __init__(self, addresses: Sequence[Address], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - never looked at: this is the point
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - ours are the limits
        local_address: str | None = None,  # noqa: ARG002 - the interface has it
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """The first address that accepts. Raises ConnectError or ConnectTimeout of the last one."""
        until = min(self._deadline, time.monotonic() + CONNECT_SECONDS)
        failure: Exception = httpcore.ConnectTimeout()
        for address in self._addresses:
            try:
                stream = self._sockets.connect_tcp(
                    str(address), port, _left(until, httpcore.ConnectTimeout), None, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation ends at one deadline, so that a drip of bytes cannot prolong it."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the interface has it
        """Raises ReadTimeout at the deadline."""
        return self._stream.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the interface has it
        """Raises WriteTimeout at the deadline."""
        self._stream.write(buffer, _left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the interface has it
    ) -> httpcore.NetworkStream:
        """Raises _TlsFailed if there is no handshake with a valid certificate."""
        try:
            stream = self._stream.start_tls(
                ssl_context, server_hostname, _left(self._deadline, httpcore.ConnectTimeout)
            )
        except httpcore.ConnectError as error:
            raise _TlsFailed(*error.args) from error
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the socket tells."""
        return self._stream.get_extra_info(info)


def _left(deadline: float, late: type[httpcore.TimeoutException]) -> float:
    """Seconds until the deadline. Raises `late` after it: not even a moment is left to a sender that never pauses."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise late
    return seconds
