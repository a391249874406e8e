"""The heartbeat of one stage: keeps its lease while it moves, and tells it when it must stop."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

from domain.lifecycle import Stage
from engines.protocol import Interrupted, Step
from storage import leases
from storage.outages import OUTAGES
from storage.schedule import Lease
from worker.process import Process

log = logging.getLogger(__name__)

LOADING = 10  # times the stall allowance: before a render's first step a model is loaded, which may take minutes

# Which part of a video's progress each phase fills, in percent.
PHASES = {
    "screen": (0, 0),
    "wait": (0, 0),
    "denoise": (1, 80),
    "decode": (80, 90),
    "encode": (80, 92),
    "publish": (92, 99),
}


class Pulse:
    """Renews a lease from a thread of its own. It stops renewing when the work stands still.

    Postgres being away stops nothing: only an answer of zero rows means that the lease is lost.
    """

    def __init__(self, process: Process, lease: Lease) -> None:
        self._process = process
        self._lease = lease
        self._lost = threading.Event()
        self._lost_at: float | None = None
        self._over = threading.Event()
        self._moved_at = self._next_beat = time.monotonic()
        self._first: tuple[float, float] | None = None  # when the first step came, and at what percentage
        self._percent = 0.0
        self._step: dict[str, Any] | None = None
        self._seen: dict[str, tuple[int, int]] = {}  # the last step of each phase
        self._leaving_since: float | None = None
        self._drawn = False
        told = copy_context().run  # its lines in the log name the video too
        self._thread = threading.Thread(target=told, args=(self._run,), name=f"pulse {lease.video_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def patience_seconds(self) -> float:
        """For how long the work may wait for a store."""
        return self._process.settings.patience_seconds

    @property
    def lost(self) -> bool:
        """Whether the video belongs to somebody else now."""
        return self._lost.is_set()

    def lost_for(self) -> float:
        """Seconds since this found that the video belongs to somebody else; 0 while it is ours."""
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    def on_step(self, step: Step) -> None:
        """What an engine calls. Raises Interrupted when the work must stop."""
        self.advance(step.phase, step.done, step.total)

    def advance(self, phase: str, done: int, total: int) -> None:
        """Note progress; raise Interrupted if the lease is lost, or if the worker leaves and cannot finish in time."""
        first, last = PHASES[phase]
        self._percent = max(self._percent, first + (last - first) * done / max(total, 1))
        self._step = {"phase": phase, "done": done, "total": total}
        if self._seen.get(phase) != (done, total):  # the same step again only asks whether to go on
            self._seen[phase] = (done, total)
            self._moved_at = time.monotonic()
        if phase != "wait":
            self._first = self._first or (self._moved_at, self._percent)
        self.check()

    def check(self) -> None:
        """Raise Interrupted as `advance` does, with nothing to note."""
        if self._lost.is_set() or (self._process.draining.is_set() and self._seconds_left() > self._grace_left()):
            raise Interrupted

    def drawn(self) -> None:
        """What is left is short, whatever the pace of the steps was: a worker that leaves gives it all of its grace."""
        self._drawn = True

    def hold_out(self, seconds: float) -> None:
        """Wait for a server that is away, which is no standing still.

        Raises Interrupted if the lease is lost, or if the worker leaves and its grace is over.
        """
        self._moved_at = time.monotonic()
        if self._lost.wait(seconds) or self._grace_left() < 0:
            raise Interrupted

    def _leaves_for(self) -> float:
        """Seconds since the drain was first seen."""
        if not self._process.draining.is_set():
            self._leaving_since = None  # a worker at rest may be told to go on
            return 0.0
        self._leaving_since = self._leaving_since or time.monotonic()
        return time.monotonic() - self._leaving_since

    def _seconds_left(self) -> float:
        """By the pace since the first step, so that loading a model does not count; 0 until a pace is known."""
        if self._drawn:
            return 0.0
        begun_at, begun_percent = self._first or (self._moved_at, self._percent)
        gained = self._percent - begun_percent
        return (time.monotonic() - begun_at) * (100 - self._percent) / gained if gained else 0.0

    def _grace_left(self) -> float:
        return self._process.settings.grace_seconds - self._leaves_for()

    def _run(self) -> None:
        settings = self._process.settings
        while not self._over.wait(min(settings.cancel_poll_seconds, settings.beat_seconds)):
            try:
                self._beat()
            except OUTAGES as error:
                log.warning("the database does not answer; the work goes on", extra={"error": type(error).__name__})
            except Exception:
                # Without this thread the lease would run out under work that goes on.
                log.exception("a heartbeat failed; the work goes on")
            if self._lost.is_set():
                return

    def _beat(self) -> None:
        self._leaves_for()
        if time.monotonic() >= self._next_beat and self._moves():
            self._renew()
            self._next_beat = time.monotonic() + self._process.settings.beat_seconds
        else:
            self._look()

    def _moves(self) -> bool:
        loads = self._lease.stage is Stage.RENDER and self._first is None
        allowed = self._process.settings.stall_seconds * (LOADING if loads else 1)
        return time.monotonic() - self._moved_at < allowed

    def _renew(self) -> None:
        with self._process.database.transaction(self._lease.tenant_id) as connection:
            kept = leases.renew(
                connection, self._lease, self._process.settings.lease_seconds, int(self._percent), self._step
            )
        if not kept:
            self._lose()

    def _look(self) -> None:
        with self._process.database.transaction(self._lease.tenant_id) as connection:
            if not leases.holds(connection, self._lease):
                self._lose()

    def _lose(self) -> None:
        self._lost_at = time.monotonic()
        self._lost.set()
