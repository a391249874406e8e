"""A TCP proxy with a temper: it passes bytes on, or it delays them, swallows them, or breaks every connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass

CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: a close is a reset


@dataclass(frozen=True)
class Temper:
    """How the proxy behaves just now."""

    delay_seconds: float = 0.0
    swallows: bool = False  # accepts, and nothing ever arrives
    refuses: bool = False  # resets what is open and what comes
    resets: bool = False  # what was asked arrives; the connection breaks where the answer should come


CALM = Temper()


class FaultProxy:
    """Stands before one server on loopback, under a port of its own, for as long as the process lives."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._temper = CALM
        self._open: set[asyncio.StreamWriter] = set()
        self._calm = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, args=(listener,), name=f"proxy {target_port}", daemon=True)
        self._thread.start()

    def behave(self, temper: Temper) -> None:
        """Change the temper; connections that are open feel it too."""
        asyncio.run_coroutine_threadsafe(self._behave(temper), self._loop).result(5)

    async def _behave(self, temper: Temper) -> None:
        self._temper = temper
        if temper.refuses:
            for writer in list(self._open):
                _break(writer)
        if temper.swallows:
            self._calm.clear()
        else:
            self._calm.set()

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._calm.set()
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=listener))
        self._loop.run_forever()

    async def _serve(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        if self._temper.refuses:
            _break(near_out)
            return
        self._open.add(near_out)
        try:
            await self._calm.wait()
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            _break(near_out)
            self._open.discard(near_out)
            return
        self._open.add(far_out)
        await asyncio.gather(self._pass_on(near_in, far_out), self._pass_on(far_in, near_out, answers=True))
        self._open -= {near_out, far_out}

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._calm.wait()
                if answers and self._temper.resets:
                    _break(sink)
                    return
                if self._temper.delay_seconds:
                    await asyncio.sleep(self._temper.delay_seconds)
                sink.write(data)
                await sink.drain()
        with contextlib.suppress(OSError):
            sink.close()


def _break(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
