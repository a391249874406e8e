"""What the embedded stack says when it cannot go on: one exception, one sentence that tells the user what to do."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 16_384
TAIL_LINES = 8


class StackError(Exception):
    """The embedded stack cannot do what was asked; the message says why and what to do.

    `port_taken` is true when another program took a port between its choice and its use, so that a second try may work.
    """

    def __init__(self, message: str, *, port_taken: bool = False) -> None:
        super().__init__(message)
        self.port_taken = port_taken


@dataclass(frozen=True, slots=True)
class _Known:
    """A line that a server logs, and what the user should read instead."""

    marks: tuple[str, ...]
    advice: str
    port_taken: bool = False


DISK_FULL = "The disk that holds {data} is full: free some space or choose another directory with --data DIR."

KNOWN = (
    _Known(("No space left on device", "no space left on device", "ENOSPC"), DISK_FULL),
    _Known(
        ("ddress already in use",),
        "{name} found its port taken by another program: stop that one, or delete {data}/ports.json and start again.",
        port_taken=True,
    ),
    _Known(
        ("database files are incompatible with server",),
        "{data} was made by another version of Postgres: dump it with that version, or choose a new --data DIR.",
    ),
    _Known(
        ("password authentication failed", "invalid username-password pair", "SignatureDoesNotMatch"),
        "{name} refused its password: {data}/secrets belongs to other data; restore it or choose another --data DIR.",
    ),
    _Known(
        ("Permission denied", "permission denied"),
        "{name} may not use {data}: give this user the directory, or choose another one with --data DIR.",
    ),
)


def explain(name: str, data: Path, evidence: str, log: Path) -> StackError:
    """Turns what a server said before it stopped (`evidence`: its last log lines) into a StackError."""
    for known in KNOWN:
        if any(mark in evidence for mark in known.marks):
            return StackError(known.advice.format(name=name, data=data), port_taken=known.port_taken)
    tail = "\n".join(f"  {line}" for line in evidence.strip().splitlines()[-TAIL_LINES:]) or "  (it said nothing)"
    return StackError(f"{name} does not start; the last lines of {log}:\n{tail}")


def explain_os_error(error: OSError, data: Path) -> StackError:
    """Turns a failed write of our own into a StackError."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StackError(DISK_FULL.format(data=data))
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StackError(f"{data} cannot be written ({error.strerror}): choose another directory with --data DIR.")
    return StackError(f"{data} cannot be used: {error}.")


def tail(log: Path, since: int = 0) -> str:
    """The end of a log file, at most TAIL_BYTES, nothing older than byte `since`; empty when there is none."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(since, end - TAIL_BYTES) if since <= end else 0)
            return file.read().decode(errors="replace")
    except OSError:
        return ""
