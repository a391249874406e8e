"""The dispatcher: takes dead workers' videos back, rings for idle ones, ends what is overdue, sweeps.

Any number may run; none leads. Each duty is one short transaction that another dispatcher may repeat harmlessly.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from domain.errors import Unavailable
from runtime.settings import Settings
from storage import (
    batches,
    delivery_log,
    disuse,
    files,
    housekeeping,
    idempotency,
    lanes,
    leases,
    outputs,
    schedule,
    workers,
)
from storage.database import Database
from storage.hints import DELIVER, Bell, broker
from storage.outages import OUTAGES, is_away, may_hinder_renewals
from storage.workers import Worker
from worker.store import open_store

log = logging.getLogger(__name__)

BATCH = 100
FORGOTTEN = 5_000  # webhook messages at once
LINES = 5_000  # of batches at once
ENDPOINTS = 1_000  # of webhooks at once
LOG_SECONDS = 60.0  # between two looks at what is too old
REQUESTS = 5_000  # remembered requests that are dropped at once: one a create, so there are many
DELIVERERS = 32  # threads of one deliver worker
AFTER_OUTAGE_SECONDS = 10.0  # workers renew their leases before anybody reaps


@dataclass(slots=True)
class _Duty:
    every: float
    perform: Callable[[], bool | None]  # True: there is more of it, so it is due again at once
    due_at: float = 0.0
    like_renewing: bool = False  # it writes as a worker does that renews its lease: what stops one stops the other


class Dispatcher:
    """The duties, and when each was last done."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.database_url, pool_size=2)
        self._bell = Bell(broker(settings.redis_url))
        self._store = open_store(settings)
        host, pid = socket.gethostname(), os.getpid()
        self._self = Worker(f"dispatcher:{host}:{pid}", (), host, pid)
        # There may have been an outage that only an earlier dispatcher saw. A lease that is shorter says itself that
        # nobody needs so long to renew.
        self._no_reaping_before = time.monotonic() + min(AFTER_OUTAGE_SECONDS, settings.lease_seconds)
        self._was_away = False  # until a beat is written again
        self._duties = [
            _Duty(settings.beat_seconds, self.beat, like_renewing=True),
            _Duty(settings.reap_seconds, self.reap, like_renewing=True),
            _Duty(settings.hint_seconds, self.wake_deliveries),
            _Duty(settings.hint_seconds, self.top_up_hints),
            _Duty(settings.snapshot_seconds, self.take_snapshots),
            _Duty(settings.reap_seconds, self.expire),
            _Duty(settings.reap_seconds, self.sweep),
            _Duty(LOG_SECONDS, self.forget_deliveries),
            _Duty(LOG_SECONDS, self.forget_endpoints),
            _Duty(LOG_SECONDS, self.forget_batches),
            _Duty(settings.reap_seconds, self.forget_requests),
        ]

    def run(self, stop: threading.Event) -> None:
        """Do what is due, until told to stop. A part that is away delays its duties and no others."""
        while not stop.is_set():
            for duty in self._duties:
                if time.monotonic() >= duty.due_at:
                    self._perform(duty)
            stop.wait(min(self._settings.hint_seconds, 0.5))

    def reap(self) -> None:
        """Take back the leases that ran out, and ring for their queues."""
        if self._was_away or time.monotonic() < self._no_reaping_before:
            return
        with self._database.transaction_for_any_tenant() as connection:
            reaped = leases.reap_for_any_tenant(connection, BATCH)
            workers.forget_for_any_tenant(connection, silent_seconds=300)
        for each in reaped:
            log.warning("lease ran out", extra={"video": each.video_id.hex, "worker": each.worker, "state": each.after})
        for queue in {each.queue for each in reaped}:
            self._bell.ring(queue)

    def wake_deliveries(self) -> bool:
        """Make ready the webhooks whose time has come, and say whether there may be more."""
        with self._database.transaction_for_any_tenant() as connection:
            return lanes.wake_for_any_tenant(connection) == lanes.WOKEN

    def top_up_hints(self) -> None:
        """One hint per idle worker while work waits, in case the ones that were rung got lost."""
        for queue, wanted in self._wanted_hints().items():
            there = self._bell.length(queue)
            for _ in range(0 if there is None else wanted - there):
                self._bell.ring(queue)

    def take_snapshots(self) -> None:
        """Count what waits in every render queue, for positions and ETAs."""
        with self._database.transaction_for_any_tenant() as connection:
            for queue in workers.queues_for_any_tenant(connection):
                if queue.startswith("render."):
                    workers.snapshot_for_any_tenant(connection, queue)

    def expire(self) -> bool:
        """End videos that waited too long, and forget those whose time is over. Whether there may be more."""
        with self._database.transaction_for_any_tenant() as connection:
            ended = housekeeping.end_overdue_for_any_tenant(connection, BATCH)
            forgotten = housekeeping.forget_expired_for_any_tenant(connection, BATCH)
            files.forget_expired_for_any_tenant(connection, BATCH)
        if ended:
            self._bell.ring(DELIVER)
        return BATCH in {len(ended), len(forgotten)}

    def sweep(self) -> bool:
        """Delete objects that nobody may read any more, twice, and say whether there may be more.

        The store may take its time: no transaction waits for it.
        """
        grace, keep = self._settings.sweep_grace_seconds, self._settings.sweep_keep_seconds
        with self._database.transaction_for_any_tenant() as connection:
            doomed = outputs.take_doomed_for_any_tenant(connection, grace, keep, BATCH)
        if not doomed:
            return False
        self._store.delete([each.key for each in doomed])
        with self._database.transaction_for_any_tenant() as connection:
            outputs.swept_for_any_tenant(connection, doomed, keep)
        if removed := sum(each.again for each in doomed):
            log.info("swept", extra={"objects": removed})
        return len(doomed) == BATCH

    def forget_requests(self) -> None:
        """Drop what was remembered of creates, once no repetition of them can come any more."""
        with self._database.transaction_for_any_tenant() as connection:
            idempotency.drop_old_for_any_tenant(connection, REQUESTS)

    def forget_batches(self) -> bool:
        """Drop batches whose files are gone, with their lines, and say whether there may be more."""
        with self._database.transaction_for_any_tenant() as connection:
            return batches.forget_for_any_tenant(connection, LINES)

    def forget_deliveries(self) -> None:
        """Drop webhook messages, deliveries and attempts that are older than their log is kept."""
        with self._database.transaction_for_any_tenant() as connection:
            delivery_log.forget_for_any_tenant(connection, FORGOTTEN)

    def forget_endpoints(self) -> bool:
        """Drop webhook endpoints that are of no use any more, and say whether there may be more."""
        with self._database.transaction_for_any_tenant() as connection:
            return disuse.forget_for_any_tenant(connection, ENDPOINTS)

    def beat(self) -> None:
        """Say that a dispatcher lives here."""
        with self._database.transaction_for_any_tenant() as connection:
            workers.beat_for_any_tenant(connection, self._self, "idle")
        if self._was_away:
            self._was_away = False
            self._no_reaping_before = time.monotonic() + AFTER_OUTAGE_SECONDS

    def _wanted_hints(self) -> dict[str, int]:
        wanted: dict[str, int] = {}
        with self._database.transaction_for_any_tenant() as connection:
            for queue in workers.queues_for_any_tenant(connection):
                if queue == DELIVER:
                    wanted[queue] = lanes.due_for_any_tenant(connection, DELIVERERS)
                elif idle := workers.idle_for_any_tenant(connection, queue):
                    wanted[queue] = schedule.waiting_for_any_tenant(connection, queue, idle)
        return wanted

    def _perform(self, duty: _Duty) -> None:
        more: bool | None = False
        try:
            more = duty.perform()
        except OUTAGES as error:
            if is_away(error) or (duty.like_renewing and may_hinder_renewals(error)):
                self._was_away = True
            log.warning("a duty must wait", extra={"duty": duty.perform.__name__, "error": type(error).__name__})
        except Unavailable as error:
            log.warning(error.message)
        duty.due_at = time.monotonic() + (0 if more else duty.every)


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    Dispatcher(settings).run(stop)
