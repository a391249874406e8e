"""Folders for drafts: one per video in hand, locked while it is used, removed by the next process if its own died.

The lock tells the living from the dead: the kernel drops it with the process, and unlike a pid it means the same in
every container that shares the disk.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OURS = re.compile(r"kinema-work-\d+-")


@contextmanager
def folder(parent: Path) -> Iterator[Path]:
    """A private folder that is gone after the block."""
    path, lock = _make(parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def clear(parent: Path) -> None:
    """Remove what processes left that were killed."""
    for path in parent.iterdir() if parent.is_dir() else ():
        if _OURS.match(path.name):
            _remove_unless_used(path)


def _make(parent: Path) -> tuple[Path, int]:
    """A locked folder; once more if somebody cleared it away before it was locked."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"kinema-work-{os.getpid()}-", dir=parent))
        lock = _lock(path)
        if lock is not None:
            return path, lock


def _remove_unless_used(path: Path) -> None:
    lock = _lock(path)
    if lock is not None:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _lock(path: Path) -> int | None:
    """The folder's lock, as a descriptor to close. None: somebody has it, or the folder is gone or not ours."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.stat()  # who had the lock before may have removed the folder
    except OSError:
        os.close(opened)
        return None
    return opened
