"""Few requests at a time wait for the object store, so that a silent one leaves threads for all others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from domain.errors import Unavailable
from storage.objects import Patience

PLACES = 8
FULL_SECONDS = 0.2  # a store that is well empties a place within milliseconds
PATIENCE = Patience(connect_seconds=2, read_seconds=5, attempts=1)  # clients wait, and try again themselves


class Gate:
    """Places for request threads, and as many threads apart from those for the bytes of downloads."""

    def __init__(self) -> None:
        self._places = BoundedSemaphore(PLACES)
        self._readers = CapacityLimiter(PLACES)

    @contextmanager
    def entered(self) -> Generator[None]:
        """A place for one call to the store. Raises Unavailable while none is free."""
        if not self._places.acquire(timeout=FULL_SECONDS):
            raise Unavailable("The object store is too slow at the moment. Please try again shortly.")
        try:
            yield
        finally:
            self._places.release()

    async def passing(self, body: Iterator[bytes]) -> AsyncGenerator[bytes]:
        """The chunks of a download. Between two of them no thread is held, however slow the client is."""
        while chunk := await run_sync(next, body, b"", limiter=self._readers):
            yield chunk
