"""The parent's watch over its children: what they do not do in time is done to them.

A child whose step never returns, or that hangs in native code, neither sees that its video was cancelled or taken
back, nor that its worker leaves. The parent asks Postgres what each child should be doing: no word from the child is
needed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence

from runtime.settings import Settings
from storage import leases, workers
from storage.database import Database
from storage.outages import OUTAGES
from worker.lease import LOADING
from worker.process import name_of

log = logging.getLogger(__name__)

LOOKS = 6  # while a child may overstay
LEAVING_SECONDS = 3.0  # beyond the grace, for children that are about to end
HANDING_BACK_SECONDS = 2.0  # then, for a Postgres that may answer no more


class Warden:
    """Kills children that stay at a video which is no longer theirs, and bounds the end of the worker."""

    def __init__(self, settings: Settings, children: Callable[[], Sequence[int]]) -> None:
        self._settings = settings
        self._children = children
        self._leaving = threading.Event()
        self._watches_since = time.monotonic()
        self._database = Database(settings.database_url, pool_size=1)

    def start(self) -> None:
        """Watch from a thread of its own."""
        threading.Thread(target=self._run, name="warden", daemon=True).start()

    def leave(self) -> None:
        """The worker was told to end: from now on its children have their grace and LEAVING_SECONDS."""
        self._leaving.set()

    def kill_overstaying(self) -> Sequence[int]:
        """Kill whoever stays at a video that it lost `overstay_seconds` ago. Who was killed."""
        pids = {name_of(pid): pid for pid in self._children()}
        seconds = self._settings.overstay_seconds
        with self._database.transaction_for_any_tenant() as connection:
            names = workers.overstaying_for_any_tenant(
                connection,
                list(pids),
                seconds,
                loading_seconds=seconds * LOADING,
                watched_seconds=time.monotonic() - self._watches_since,
            )
        for name in names:
            log.error("a child stays at a video that it lost; it is killed", extra={"worker": name})
        found = [pids[name] for name in names]
        _kill(found)
        return found

    def end_children(self) -> None:
        """Kill all, and hand back what they hold: a worker that leaves is no crash."""
        pids = self._children()
        _kill(pids)
        with self._database.transaction_for_any_tenant() as connection:
            back = leases.hand_back_all_for_any_tenant(connection, [name_of(pid) for pid in pids])
        log.error("children did not end in time and were killed", extra={"children": len(pids), "videos": len(back)})

    def _run(self) -> None:
        while not self._leaving.wait(self._settings.overstay_seconds / LOOKS):
            try:
                self.kill_overstaying()
            except OUTAGES as error:
                log.warning("nobody can say who overstays", extra={"error": type(error).__name__})
            except Exception:  # without this thread a child that hangs would keep its slot for ever
                log.exception("the watch over the children failed; it goes on")
        time.sleep(self._settings.grace_seconds + LEAVING_SECONDS)
        threading.Timer(HANDING_BACK_SECONDS, os._exit, (1,)).start()
        try:
            self.end_children()
        except Exception:  # the worker ends in any case, and leases run out
            log.exception("what the killed children held could not be handed back; the reaper will see to it")
        os._exit(1)  # whoever joins a pool whose children are killed may wait for ever


def _kill(pids: Collection[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
