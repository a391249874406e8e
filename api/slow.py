"""Clients that take their time: heads of requests that never end, answers that nobody reads.

Neither holds a thread; each would hold a socket, and a download its connection to the object store.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0  # from the first byte of a request, or the connection, to the end of its head
TAKING_SECONDS = 30.0  # a client that takes not a byte of an answer for so long is given up


class PatientProtocol(H11Protocol):
    """Answers 408 where the head of a request does not come in time; breaks connections that take nothing."""

    _head_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn does it
        """A head is awaited from now on."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # every byte that is not sent at once is watched
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Perhaps it is complete, perhaps another one begins."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._unwatch()
        self._all_taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what was sent. To close would wait for that: at last the connection is broken."""
        super().pause_writing()
        self._expect_less(_waiting_bytes(self.transport))

    def resume_writing(self) -> None:
        """It has taken that."""
        self._all_taken()
        super().resume_writing()

    def _watch(self) -> None:
        """A timer as long as a head is being waited for; more bytes do not prolong it."""
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _unwatch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def _expect_less(self, waiting: int) -> None:
        self._all_taken()
        self._taking_timer = self.loop.call_later(TAKING_SECONDS, self._look_again, waiting)

    def _look_again(self, before: int) -> None:
        """However slow a client is, it may go on while it goes on."""
        waiting = _waiting_bytes(self.transport)
        if waiting < before:
            self._expect_less(waiting)
        else:
            self.transport.abort()

    def _all_taken(self) -> None:
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None


def _waiting_bytes(transport: asyncio.Transport) -> int:
    """What the client has not acknowledged: here, and in the kernel, which takes more in leaps only."""
    here = transport.get_write_buffer_size()
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # where a kernel does not tell this of sockets
        return here
    return here + int(struct.unpack("i", answer)[0])
