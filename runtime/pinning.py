"""Connections to addresses that were judged before, each ending at one deadline.

`httpcore` asks a network backend for its connections; this one never looks a name up.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from domain.addresses import Address

CONNECT_SECONDS = 5.0


class TlsFailed(httpcore.ConnectError):
    """The handshake failed."""


class PinnedBackend(httpcore.NetworkBackend):
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
        """Raises TlsFailed if there is no handshake with a valid certificate."""
        try:
            stream = self._stream.start_tls(
                ssl_context, server_hostname, _left(self._deadline, httpcore.ConnectTimeout)
            )
        except httpcore.ConnectError as error:
            raise TlsFailed(*error.args) from error
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
