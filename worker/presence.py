"""A worker process says every few seconds that it lives, and what it does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from storage import workers
from worker.process import Process

log = logging.getLogger(__name__)


class Presence:
    """Reports from a thread of its own, so that a long render does not look like a dead worker."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._at_work: list[UUID] = []
        self._changed = threading.Event()
        self._unreported = True
        self._over = False
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say nothing more."""
        self._over = True
        self._changed.set()
        self._thread.join(timeout=5)

    @property
    def is_busy(self) -> bool:
        """Whether a video is at work here."""
        return bool(self._at_work)

    @contextmanager
    def busy(self, video_id: UUID) -> Generator[None]:
        """The worker is at this video inside the block, perhaps beside another: it names the one that it took last."""
        self._at_work.append(video_id)
        self._changed.set()
        try:
            yield
        finally:
            self._at_work.remove(video_id)
            self._changed.set()

    def _run(self) -> None:
        while not self._over:
            self._changed.clear()
            try:
                self._report()
            except Exception as error:  # noqa: BLE001 - a worker that looks dead is one: this thread must never end
                log.warning("presence could not be reported", extra={"error": type(error).__name__})
            self._changed.wait(self._process.settings.beat_seconds)

    def _report(self) -> None:
        video_id = next(reversed(self._at_work.copy()), None)
        state = "draining" if self._process.draining.is_set() else "idle" if video_id is None else "busy"
        with self._process.database.transaction_for_any_tenant() as connection:
            asked_to_drain = workers.beat_for_any_tenant(
                connection,
                self._process.worker,
                state,
                video_id,
                first=self._unreported,
                drained=self._process.draining.asked,
            )
        self._unreported = False
        if self._process.draining.ask(rest=asked_to_drain):
            self._changed.set()  # say at once what has become of it: hints go to idle workers only
