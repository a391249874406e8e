"""Places for something slow: few at a time, fewer for one tenant, and a short wait that is bounded as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock
from uuid import UUID

from domain.errors import Unavailable
from storage.database import POOL_SIZE

ORDINARY_THREADS = 6  # of a process's request threads, which no slow work takes
MOST_SLOW = POOL_SIZE - ORDINARY_THREADS
MOST_SLOW_OF_A_TENANT = MOST_SLOW - 4
_BUSY = "Too much slow work is under way at the moment. Please try again shortly."


class Crowd:
    """Everybody in a request thread who is at slow work or waits for a place at it, whatever the work is.

    Each kind of work has places of its own; this bounds them all together. Shared by all threads of a process.
    """

    def __init__(self, most: int = MOST_SLOW, of_a_tenant: int = MOST_SLOW_OF_A_TENANT) -> None:
        self._most, self._of_a_tenant = most, of_a_tenant
        self._inside: Counter[UUID | None] = Counter()
        self._lock = Lock()

    @contextmanager
    def joined(self, tenant_id: UUID | None = None) -> Generator[None]:
        """One of them; None: work that is nobody's. Raises Unavailable at once if there are too many."""
        with self._lock:
            alone = tenant_id is None or self._inside[tenant_id] < self._of_a_tenant
            if not alone or self._inside.total() >= self._most:
                raise Unavailable(_BUSY)
            self._inside[tenant_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside[tenant_id] -= 1
                if not self._inside[tenant_id]:
                    del self._inside[tenant_id]


@dataclass(frozen=True, slots=True)
class Room:
    """How many may be at it, of all tenants and of one; how many more may wait, and for how many seconds."""

    places: int
    of_a_tenant: int
    waiting: int
    patience_seconds: float


class Turns:
    """Shared by all threads of a process. What is busy is a sentence for clients."""

    def __init__(self, room: Room, busy: str, crowd: Crowd) -> None:
        self._room = room
        self._crowd = crowd
        self._message = f"{busy} Please try again shortly."
        self._taken: Counter[UUID] = Counter()
        self._waiting = 0
        self._changed = Condition()

    @contextmanager
    def of(self, tenant_id: UUID) -> Generator[None]:
        """A place for the tenant. Raises Unavailable if none becomes free in time, or if too many wait already."""
        with self._crowd.joined(tenant_id), self._place(tenant_id):
            yield

    @contextmanager
    def _place(self, tenant_id: UUID) -> Generator[None]:
        with self._changed:
            if not self._has_room(tenant_id):
                self._wait(tenant_id)
            self._taken[tenant_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[tenant_id] -= 1
                if not self._taken[tenant_id]:
                    del self._taken[tenant_id]
                self._changed.notify_all()

    def _has_room(self, tenant_id: UUID) -> bool:
        return self._taken[tenant_id] < self._room.of_a_tenant and self._taken.total() < self._room.places

    def _wait(self, tenant_id: UUID) -> None:
        if self._waiting >= self._room.waiting:
            raise Unavailable(self._message)
        self._waiting += 1
        try:
            if not self._changed.wait_for(lambda: self._has_room(tenant_id), self._room.patience_seconds):
                raise Unavailable(self._message)
        finally:
            self._waiting -= 1
