"""Places for something slow: few at a time, fewer for one tenant, and a short wait that is bounded as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from uuid import UUID

from domain.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Room:
    """How many may be at it, of all tenants and of one; how many more may wait, and for how many seconds."""

    places: int
    of_a_tenant: int
    waiting: int
    patience_seconds: float


class Turns:
    """Shared by all threads of a process. What is busy is a sentence for clients."""

    def __init__(self, room: Room, busy: str) -> None:
        self._room = room
        self._message = f"{busy} Please try again shortly."
        self._taken: Counter[UUID] = Counter()
        self._waiting = 0
        self._changed = Condition()

    @contextmanager
    def of(self, tenant_id: UUID) -> Generator[None]:
        """A place for the tenant. Raises Unavailable if none becomes free in time, or if too many wait already."""
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
