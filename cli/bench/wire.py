"""Counts what an API process says to Postgres, from the outside: one message that ends a turn is one round trip."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter

SIMPLE, SYNC = b"Q", b"S"
HEAD = 5  # a letter and four bytes of length, which count themselves


class CountingWire:
    """Passes connections on to Postgres; `seen` counts the client's messages by their letter."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.seen: Counter[bytes] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def round_trips(self) -> int:
        """Times that the client waited for Postgres; without pipelines, also the number of its statements."""
        return self.seen[SIMPLE] + self.seen[SYNC]

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                threading.Thread(target=self._upwards, args=(near, far), daemon=True).start()
                threading.Thread(target=_pass_on, args=(far, near), daemon=True).start()

    def _upwards(self, near: socket.socket, far: socket.socket) -> None:
        started, buffer = False, b""
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
                buffer += data
                if not started:  # the first message has no letter
                    length = int.from_bytes(buffer[:4])
                    if len(buffer) < length:
                        continue
                    # A request for encryption is as long as this; the real beginning follows its answer.
                    started, buffer = length != 8, buffer[length:]
                buffer = self._count(buffer) if started else buffer
        _close(near, far)

    def _count(self, buffer: bytes) -> bytes:
        while len(buffer) >= HEAD:
            length = int.from_bytes(buffer[1:HEAD])
            if len(buffer) < length + 1:
                break
            self.seen[buffer[:1]] += 1
            buffer = buffer[length + 1 :]
        return buffer


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _close(source, sink)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
