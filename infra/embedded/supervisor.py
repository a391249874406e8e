"""Keeps programs running: starts them in order, restarts what dies, stops everything within a bound.

One thread does all of it, the main one, because the kernel ties a child to the thread that spawned it; only the waiting
for readiness happens in other threads.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from time import monotonic, sleep
from types import FrameType

from infra.embedded import leftovers, rotation
from infra.embedded.errors import StackError, explain, explain_os_error, tail
from infra.embedded.guard import Guard
from infra.embedded.private import private_directory
from infra.embedded.process import Program, kill_group, signal_process, spawn

TICK = 0.1
LOG_SECONDS = 1.0  # between two looks at how long the logs are
LOG_RETRY_SECONDS = 60.0  # after one that could not be cut
STEADY_SECONDS = 30.0
BACK_OFF = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
STOP_SECONDS = 18.0

Processes = Mapping[str, list[int]]


class Stopped(Exception):
    """A signal asked for the end while programs were still starting."""


@dataclass(slots=True)
class _Slot:
    """A program and its present process."""

    program: Program
    process: Popen[bytes] | None = None
    started: float = 0.0
    log_start: int = 0
    deaths: int = 0
    due: float = 0.0
    log_due: float = 0.0

    @property
    def died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def launch(self) -> None:
        """Spawns the program. Raises OSError."""
        log = self.program.log
        self.log_start = log.stat().st_size if log.exists() else 0
        self.process = spawn(self.program)
        self.started = monotonic()

    def bury(self) -> None:
        """Kills what the dead process left of its group and decides when the next one starts."""
        if self.process is None:
            return
        kill_group(self.process)
        self.program.tidy()
        self.process = None
        self.deaths = 0 if monotonic() - self.started > STEADY_SECONDS else self.deaths
        self.due = monotonic() + BACK_OFF[min(self.deaths, len(BACK_OFF) - 1)]
        self.deaths += 1

    def bound_log(self) -> None:
        """Keeps the log from growing for ever; a disk that is full must not end the supervision."""
        if monotonic() < self.log_due:
            return
        self.log_due = monotonic() + LOG_SECONDS
        try:
            rotation.bound(self.program.log)
        except OSError as error:
            self.log_due = monotonic() + LOG_RETRY_SECONDS
            print(f"{self.program.log} cannot be cut: {error}", file=sys.stderr, flush=True)

    def failure(self, data: Path, last: BaseException | None) -> StackError:
        """Why it does not start, from its log or else from the last answer of its probe."""
        evidence = tail(self.program.log, self.log_start) + (f"\n{last}" if last else "")
        return explain(self.program.name, data, evidence, self.program.log)


class Supervisor:
    """Owns a data directory and the processes that work on it.

    `on_change` is called with group -> process numbers after every start, death and restart.
    """

    def __init__(self, data: Path, on_change: Callable[[Processes], None] | None = None) -> None:
        self.data = data.resolve()
        self._on_change = on_change
        self._stages: list[list[_Slot]] = []
        self._end = threading.Event()
        self._lock: int | None = None
        self._guard = Guard()

    def own_data(self) -> None:
        """Takes the directory's lock and ends what a killed predecessor left running. Raises StackError, OSError."""
        if self._lock is not None:
            return
        path = private_directory(self.data) / "lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text().strip()
            os.close(lock)
            raise StackError(
                f"Kinema already runs on {self.data} (process {holder}): stop it, or choose another --data DIR."
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock
        leftovers.end(self.data / "pids.json")

    def start(self, programs: Sequence[Program]) -> None:
        """Starts one more stage and returns when every program in it is ready.

        Raises StackError when one does not start, Stopped when a signal came first; both leave `stop` to the caller.
        """
        try:
            self.own_data()
            stage = [_Slot(program) for program in programs]
            self._stages.append(stage)
            for slot in stage:
                slot.launch()
        except OSError as error:
            raise explain_os_error(error, self.data) from error
        self._changed()
        self._await_ready(stage)

    def run(self) -> None:
        """Restarts whatever dies, and bounds what all write, until a signal or `ask_to_stop`."""
        while not self._end.wait(TICK):
            self.restart_dead()
            for slot in self._slots():
                slot.bound_log()

    def restart_dead(self) -> None:
        """Starts again what died, each after its back-off."""
        changed = False
        for slot in self._slots():
            if slot.died:
                self._report(slot)
                slot.bury()
                changed = True
            if slot.process is None and monotonic() >= slot.due:
                changed = self._relaunch(slot) or changed
        if changed:
            self._changed()

    def ask_to_stop(self) -> None:
        """Ends `run`, or `start` with Stopped; safe in a signal handler."""
        self._end.set()

    def stop(self) -> None:
        """Stops the stages, last first, within STOP_SECONDS, and lets go of the data directory."""
        deadline = monotonic() + STOP_SECONDS
        while self._stages:
            _stop_stage(self._stages[-1], deadline)
            self._stages.pop()
        if self._lock is not None:
            self._changed()
            self._guard.dismiss()
            os.close(self._lock)
            self._lock = None

    def kill(self) -> None:
        """Ends everything at once, for data that nobody will read again."""
        for slot in self._slots():
            if slot.process is not None:
                kill_group(slot.process)
        self.stop()

    def processes(self) -> dict[str, list[int]]:
        """The living processes by group."""
        groups: dict[str, list[int]] = {}
        for slot in self._slots():
            pids = groups.setdefault(slot.program.group or slot.program.name, [])
            if slot.process is not None and not slot.died:
                pids.append(slot.process.pid)
        return groups

    @contextmanager
    def handling_signals(self) -> Generator[None]:
        """SIGINT and SIGTERM ask to stop inside the block."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.ask_to_stop()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _await_ready(self, stage: list[_Slot]) -> None:
        given_up = threading.Event()
        probed = [slot for slot in stage if slot.program.ready is not None]
        if not probed:
            return
        with ThreadPoolExecutor(len(probed)) as pool:
            waits = {pool.submit(_probe, slot, given_up): slot for slot in probed}
            try:
                self._watch(waits)
            finally:
                given_up.set()

    def _watch(self, waits: Mapping[Future[BaseException | None], _Slot]) -> None:
        """Until every probe is through: a death, a probe out of time or a signal ends the wait."""
        while not all(wait.done() for wait in waits):
            if self._end.is_set():
                raise Stopped
            for slot in waits.values():
                if slot.died:
                    raise slot.failure(self.data, None)
            sleep(0.01)
        for wait, slot in waits.items():
            if (last := wait.result()) is not None:
                raise slot.failure(self.data, last)

    def _relaunch(self, slot: _Slot) -> bool:
        try:
            slot.launch()
        except (OSError, StackError) as error:
            print(f"{slot.program.name} does not start again: {error}", file=sys.stderr, flush=True)
            slot.due = monotonic() + BACK_OFF[-1]
            return False
        return True

    def _report(self, slot: _Slot) -> None:
        code = slot.process.returncode if slot.process is not None else None
        print(f"{slot.program.name} died (exit {code}); starting it again", file=sys.stderr, flush=True)

    def _orphans(self) -> dict[int, signal.Signals]:
        """What would be left if this process were killed now, and how to ask each to end."""
        return {
            slot.process.pid: slot.program.orphan_signal
            for slot in self._slots()
            if slot.process is not None and not slot.died
        }

    def _slots(self) -> list[_Slot]:
        return [slot for stage in self._stages for slot in stage]

    def _changed(self) -> None:
        """Tells the world; a full disk must not end the supervision."""
        groups = self.processes()
        try:
            self._guard.watch(self._orphans())
            leftovers.remember(self.data / "pids.json", [pid for pids in groups.values() for pid in pids])
            if self._on_change is not None:
                self._on_change(groups)
        except OSError as error:
            print(explain_os_error(error, self.data), file=sys.stderr, flush=True)


def _probe(slot: _Slot, given_up: threading.Event) -> BaseException | None:
    """Asks until the program answers; returns the last complaint when the time is over."""
    deadline = monotonic() + slot.program.ready_within
    while slot.program.ready is not None:
        try:
            slot.program.ready()
        except Exception as error:  # noqa: BLE001 - whatever a probe raises means "not yet"
            if monotonic() > deadline or given_up.wait(0.02):
                return error
        else:
            return None
    return None


def _stop_stage(stage: list[_Slot], deadline: float) -> None:
    """Whoever is asked by others goes after them."""
    for last in (False, True):
        _stop_together([slot for slot in stage if slot.program.last_to_stop is last], deadline)


def _stop_together(slots: list[_Slot], deadline: float) -> None:
    """Asks all at once, gives each its grace within the deadline, kills what is left."""
    begun = monotonic()
    running = [(slot.program, slot.process) for slot in slots if slot.process is not None]
    for program, process in running:
        signal_process(process, program.stop_signal)
    for program, process in running:
        until = min(begun + program.grace, deadline)
        while process.poll() is None and monotonic() < until:
            sleep(0.02)
        kill_group(process)
        process.wait()
        program.tidy()
