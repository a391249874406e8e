"""Few requests at a time wait for the object store, so that a silent one leaves threads for all others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from anyio import CapacityLimiter, Semaphore, fail_after
from anyio.to_thread import run_sync

from api.turns import Crowd
from domain.errors import Unavailable
from storage.objects import Download, Patience

PLACES = 8
FULL_SECONDS = 0.2  # a store that is well empties a place within milliseconds
PATIENCE = Patience(connect_seconds=2, read_seconds=5, attempts=1)  # clients wait, and try again themselves
_SLOW = "The object store is too slow at the moment. Please try again shortly."


class Gate:
    """Places for request threads; and for downloads as many threads apart, to begin them and to read on."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._places = BoundedSemaphore(PLACES)
        self._beginnings = Semaphore(PLACES)
        self._openers = CapacityLimiter(PLACES)
        self._readers = CapacityLimiter(PLACES)

    @contextmanager
    def entered(self) -> Generator[None]:
        """A place for one call to the store. Raises Unavailable while none is free."""
        with self._crowd.joined():
            if not self._places.acquire(timeout=FULL_SECONDS):
                raise Unavailable(_SLOW)
            try:
                yield
            finally:
                self._places.release()

    async def begun(self, get: Callable[[], Download]) -> AsyncGenerator[bytes]:
        """The chunks of a download that has begun. Whoever waits for that holds no thread. Raises Unavailable."""
        try:
            with fail_after(FULL_SECONDS):
                await self._beginnings.acquire()
        except TimeoutError:
            raise Unavailable(_SLOW) from None
        try:
            download = await run_sync(get, limiter=self._openers)
        finally:
            self._beginnings.release()
        return self._passing(download.body)

    async def _passing(self, body: Iterator[bytes]) -> AsyncGenerator[bytes]:
        """Between two chunks no thread is held, however slow the client is."""
        while chunk := await run_sync(next, body, b"", limiter=self._readers):
            yield chunk
