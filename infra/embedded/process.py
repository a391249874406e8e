"""One child process: described by a Program, spawned so that it cannot outlive its launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SHIM = Path(__file__).with_name("shim.py")


def _nothing() -> None:
    """Most programs need no hand before or after."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run and how it starts, answers and ends.

    Several programs may share a `group` (N render workers); `name` is unique and names the log file.
    `prepare` runs before every start and `tidy` after every end; `ready` raises until the program answers.
    `orphan_signal` is what the kernel sends when the launcher dies without a word.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    log: Path
    cwd: Path
    group: str = ""
    identity: str = "same"
    prepare: Callable[[], None] = _nothing
    tidy: Callable[[], None] = _nothing
    ready: Callable[[], object] | None = None
    ready_within: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    grace: float = 5.0
    last_to_stop: bool = False  # others of its stage ask it until they have ended


def inherited_environment() -> dict[str, str]:
    """What a server gets to see of our environment: enough to find files, no proxies, no credentials."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME")
    return {name: os.environ[name] for name in kept if name in os.environ}


def through_shim(argv: tuple[str, ...], identity: str, orphan_signal: signal.Signals) -> list[str]:
    """The command line that runs `argv` under the shim as a child of this process."""
    python = [sys.executable, "-I", "-S", str(SHIM)]
    return [*python, str(os.getpid()), str(int(orphan_signal)), identity, *argv]


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Starts the program in a process group of its own, output appended to its log. Raises OSError.

    Only from the main thread: the kernel ties a child to the *thread* that spawned it.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("spawn from the main thread: a child dies with the thread that spawned it")
    program.prepare()
    with _open_log(program.log) as log:
        return subprocess.Popen(
            through_shim(program.argv, program.identity, program.orphan_signal),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=program.env,
            cwd=program.cwd,
            start_new_session=True,
        )


def _open_log(path: Path) -> BinaryIO:
    """Appends, which is what lets the supervisor empty it meanwhile. Only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def signal_process(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signals the process if it still runs."""
    if process.poll() is None:
        process.send_signal(number)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills whatever is left of the process and its children, without a word."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
