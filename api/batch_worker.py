"""What every step of a turn at a batch needs: the open parts of the process, and the right to write."""

from __future__ import annotations

from dataclasses import dataclass

from api.services import Services
from storage import batch_runs
from storage.batch_runs import BatchLease, Turn
from storage.batches import Batch
from storage.database import Connection


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
