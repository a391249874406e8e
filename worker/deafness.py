"""A worker that is idle while work waits, and hears no hint, is deaf: it ends, and its supervisor starts another.

Celery's listeners have gone silent after a broker's blip in one release after the other (celery#8030, #9054, #10204).
Postgres knows the truth: the dispatcher hints every second for each idle worker while something waits.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from storage import lanes, schedule
from storage.hints import DELIVER
from storage.outages import OUTAGES
from worker.pipeline.work import stage_of
from worker.presence import Presence
from worker.process import Process
from worker.warden import HANDING_BACK_SECONDS, LEAVING_SECONDS

log = logging.getLogger(__name__)

LOOKS = 6  # while it is patient


class Ears:
    """Notes every hint; a thread of its own looks whether one is overdue."""

    def __init__(self, process: Process, presence: Presence, leave: Callable[[], None]) -> None:
        self._process = process
        self._presence = presence
        self._leave = leave
        self._missing_since: float | None = None
        threading.Thread(target=self._run, name="ears", daemon=True).start()

    def heard(self) -> None:
        """A hint came."""
        self._missing_since = None

    def _run(self) -> None:
        patience = self._process.settings.deaf_seconds
        while not self._process.draining.leaves_within(patience / LOOKS):
            if self._process.draining.resting or self._presence.is_busy or not self._misses_something():
                self._missing_since = None
                continue
            self._missing_since = self._missing_since or time.monotonic()
            if time.monotonic() - self._missing_since >= patience:
                log.error("work waits and no hint comes: this worker is deaf and ends", extra={"seconds": patience})
                self._leave()
                return

    def _misses_something(self) -> bool:
        """Whether this worker could take something at once: what only waits for its tenant's turn does not count."""
        try:
            return any(self._could_take(queue) for queue in self._process.worker.queues)
        except OUTAGES:
            return False  # nobody is hinted while the database is away
        except Exception:  # without this thread a deaf worker would stay so
            log.exception("nobody can say whether this worker is deaf; it looks again")
            return False

    def _could_take(self, queue: str) -> bool:
        with self._process.database.transaction_for_any_tenant() as connection:
            if queue == DELIVER:
                return lanes.choose_for_any_tenant(connection) is not None
            return schedule.claimable_for_any_tenant(connection, stage_of(queue), queue)


def leaving_seconds(grace_seconds: float) -> float:
    """What a listening process may take to leave by itself, with its warden's last resort."""
    return grace_seconds + LEAVING_SECONDS + HANDING_BACK_SECONDS + 1.0


def end_listener(pid: int, within: float) -> None:
    """End the process that listens, and with it its children: this one is one of them, or is it itself.

    It has `within` seconds to leave by itself, and to hand back what its other children hold.
    """
    os.kill(pid, signal.SIGTERM)
    time.sleep(within)
    os.kill(pid, signal.SIGKILL)
    os._exit(1)
