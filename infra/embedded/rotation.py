"""Logs of a bounded size: a log that grew is copied aside and emptied, while its writer goes on.

Children write to their files themselves, appending: none of them ever waits for the supervisor, and none notices when
it freezes or dies. The price: a line that is written between the last read and the cut, microseconds later, is lost.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

LIMIT_BYTES = 10 * 2**20
KEPT = 2  # older parts, NAME.1 the younger one
CHUNK_BYTES = 2**20
LINE_SECONDS = 0.5  # that a line has to become whole


def bound(log: Path, limit: int = LIMIT_BYTES) -> bool:
    """Set aside what is in the log if that is more than `limit` bytes. True if it was.

    Lines stay whole if their writer appends each with one call. Raises OSError, leaving the log as it was.
    """
    if _size(log) <= limit:
        return False
    draft = log.with_name(f"{log.name}.new")
    try:
        with log.open("r+b", buffering=0) as source, _private(draft) as target:
            _drain(source, target, 2 * limit)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    for number in range(KEPT, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            _part(log, number - 1).replace(_part(log, number))
    draft.replace(_part(log, 1))
    return True


def _drain(source: BinaryIO, target: BinaryIO, most: int) -> None:
    """Copy to the end of a line that is the last one, then empty the source at once.

    Who writes faster than we copy is cut off after `most` bytes.
    """
    over_at = monotonic() + LINE_SECONDS
    whole = True
    while target.tell() < most:
        chunk = source.read(CHUNK_BYTES)
        if chunk:
            target.write(chunk)
            target.flush()
            whole = chunk.endswith(b"\n")
        elif whole or monotonic() > over_at:
            break
        else:
            sleep(0.001)  # a reader may see the first half of what is being written
    source.truncate(0)


def _private(path: Path) -> BinaryIO:
    """A new file that only its owner may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _part(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
