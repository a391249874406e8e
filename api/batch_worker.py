"""What every step of a turn at a batch needs: the open parts of the process, and the right to write."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from api.services import Services
from storage import batch_runs
from storage.batch_runs import BatchLease, Turn
from storage.batches import Batch
from storage.database import Connection, Database
from storage.outages import OUTAGES

log = logging.getLogger(__name__)


class Lost(Exception):
    """The batch is another runner's now, or was cancelled: this turn is over, and what it was doing undone."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Whoever has the turn."""

    served: Services
    turn: Turn

    @property
    def batch(self) -> Batch:
        """As it was at the claim."""
        return self.turn.batch

    @property
    def lease(self) -> BatchLease:
        """The right to write."""
        return self.turn.lease

    def keep(self, connection: Connection) -> None:
        """Prolong the lease, first thing in a transaction, so that the batch is locked before all else.

        Raises Lost, also when its status is no longer that of the claim.
        """
        if not batch_runs.keep(connection, self.lease, self.served.settings.lease_seconds, self.batch.status):
            raise Lost


@contextmanager
def beating(database: Database, lease: BatchLease, lease_seconds: float) -> Generator[None]:
    """Prolong the lease as long as the block lasts: one line may take longer than it, or two processes take turns."""
    over = Event()
    thread = Thread(target=_beat, args=(database, lease, lease_seconds, over), name="batch lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _beat(database: Database, lease: BatchLease, lease_seconds: float, over: Event) -> None:
    while not over.wait(lease_seconds / 3):
        try:
            with database.transaction(lease.tenant_id) as connection:
                if not batch_runs.keep(connection, lease, lease_seconds):
                    return
        except OUTAGES as error:
            log.warning("the lease of a batch was not prolonged", extra={"error": type(error).__name__})
