"""Processes of an earlier run that its death did not end (no PDEATHSIG outside Linux): remembered, found, ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import psutil

from infra.embedded.private import read_json, write_private_json

SAME_START_SECONDS = 0.01


def remember(state: Path, pids: Iterable[int]) -> None:
    """Writes the living among `pids` with their start times, so that a number given away later is not mistaken."""
    known = {str(pid): started for pid in pids if (started := _started(pid)) is not None}
    write_private_json(state, known)


def end(state: Path, patience: float = 3.0) -> None:
    """Waits for the remembered processes that are on their way out, then kills those that are not."""
    processes = [process for pid, started in read_json(state).items() if (process := _same(int(pid), started))]
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=patience)


def _same(pid: int, started: float) -> psutil.Process | None:
    now = _started(pid)
    if now is None or abs(now - started) > SAME_START_SECONDS:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid)
    return None


def _started(pid: int) -> float | None:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).create_time()
    return None
