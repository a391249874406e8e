"""Ends what a supervisor left behind when it was killed itself: children of its children, and all on other systems.

The kernel's PDEATHSIG (see shim.py) reaches direct children on Linux only. `Guard` keeps a small process (this file) at
the other end of a pipe; each line names the process groups that run now. When the pipe closes, whatever the last line
named is asked to end and soon after killed. An orderly supervisor says `[]` before it goes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

PATIENCE_SECONDS = 3.0


class Guard:
    """The supervisor's end. Starts its process at first use, and again should somebody kill it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, groups: Mapping[int, signal.Signals]) -> None:
        """Names what runs now: process group -> the signal that asks it to end. Raises OSError."""
        line = json.dumps([[group, int(number)] for group, number in groups.items()]).encode() + b"\n"
        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            self._write(line)
        except BrokenPipeError:
            self._start()
            self._write(line)

    def dismiss(self) -> None:
        """Nothing runs any more; ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._write(b"[]\n")
        self._close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        self._process = None

    def _start(self) -> None:
        self._close()
        command = [sys.executable, "-I", "-S", __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True, cwd=Path("/")
        )

    def _write(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(line)


def main() -> None:
    """The guarding process: reads until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    last = "[]"
    for line in sys.stdin:
        last = line if line.endswith("\n") else last
    end(json.loads(last))


def end(groups: list[list[int]]) -> None:
    """Asks each group with its signal, then kills what has not gone after PATIENCE_SECONDS."""
    for group, number in groups:
        _signal(group, number)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and any(_signal(group, 0) for group, _ in groups):
        time.sleep(0.05)
    for group, _ in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
