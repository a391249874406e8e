"""Files that only their owner may read, replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def private_directory(path: Path) -> Path:
    """Makes `path` with its parents; the directory itself is closed to others (0700) when it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Replaces `path` atomically by a file of mode 0600. Raises OSError, leaving the old file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_private_json(path: Path, value: object) -> None:
    """`write_private` of indented JSON."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when the file is missing or was cut short."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
