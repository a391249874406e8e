"""The thread that works on batches, one in each API process; whichever is free takes the next turn."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread

from api import batch_turns
from api.batch_worker import Lost, beating
from api.services import Services
from domain.batches import MOST_FAILED_TURNS, MOST_FAILURES, Status
from domain.errors import Unavailable
from runtime import logs
from storage import batch_runs
from storage.batch_runs import Turn
from storage.database import Database
from storage.outages import OUTAGES, is_away

log = logging.getLogger(__name__)

CONNECTIONS = 2  # of its own, so that requests always find as many as there are threads for them
IDLE_SECONDS = 1.0
AGAIN_SECONDS = 5.0  # after a failure; twice as long after each that follows
LONGEST_SECONDS = 300.0


class BatchRunner:
    """Takes turns until it is stopped. What it was doing when a process dies is taken up when its lease ends."""

    def __init__(self, served: Services) -> None:
        self._database = Database(served.settings.database_url, pool_size=CONNECTIONS)
        self._served = replace(served, database=self._database)
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._stopped = Event()
        self._owed: Turn | None = None  # one that an outage ended: to be released, since it did not fail
        self._thread = Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the step in hand end, for as long as a stopping process has."""
        self._stopped.set()
        self._served.batch_wanted.set()
        self._thread.join(timeout=5)
        self._database.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._served.batch_wanted.clear()
            try:
                busy = self.take_turn()
            except OUTAGES as error:
                log.warning("no turn: the database does not answer", extra={"error": type(error).__name__})
                busy = False
            except Exception:  # without this thread no batch of the process would go on
                log.exception("unexpected failure of a turn")
                busy = False
            if not busy:
                self._served.batch_wanted.wait(IDLE_SECONDS)

    def take_turn(self) -> bool:
        """One turn at the batch that has waited the longest. False if none is due."""
        with self._database.transaction_for_any_tenant() as connection:
            if self._owed is not None:
                batch_runs.release(connection, self._owed.lease, 0.0, self._owed.failures)
            turn = batch_runs.claim_for_any_tenant(connection, self._name, self._served.settings.lease_seconds)
        self._owed = turn
        if turn is None:
            return False
        with logs.bound(batch_id=f"batch_{turn.batch.id.hex}"):
            with beating(self._database, turn.lease, self._served.settings.lease_seconds):
                delay, failures = self._work(turn)
            self._owed = replace(turn, failures=failures)
            with self._database.transaction(turn.lease.tenant_id) as connection:
                batch_runs.release(connection, turn.lease, delay, failures)
        self._owed = None
        return True

    def _work(self, turn: Turn) -> tuple[float, int]:
        """The seconds until the next look, and how many turns have failed by now."""
        if turn.lapsed and turn.failures > 1:  # one runner may die of anything; what kills the next one too has to wait
            return self._failed(turn, turn.failures)
        try:
            return batch_turns.take(self._served, turn), 0
        except Lost:
            return 0.0, turn.failures
        except Unavailable as error:
            log.warning("a turn is put off", extra={"code": error.code})
            return AGAIN_SECONDS, turn.failures
        except Exception as error:  # this batch is tried again later; an outage is everybody's
            if isinstance(error, OUTAGES) and is_away(error):
                raise
            log.exception("unexpected failure of a batch")
        return self._failed(turn, turn.failures + 1)

    def _failed(self, turn: Turn, failures: int) -> tuple[float, int]:
        """A batch that cannot be begun is over soon; one with videos is tried again, ever more seldom, for a while."""
        most = MOST_FAILURES if turn.batch.status is Status.VALIDATING else MOST_FAILED_TURNS
        if failures >= most:
            with suppress(Lost, Unavailable):
                batch_turns.give_up(self._served, turn, simply=turn.lapsed and failures >= most + MOST_FAILURES)
        return min(AGAIN_SECONDS * 2 ** min(failures - 1, 10), LONGEST_SECONDS), failures
