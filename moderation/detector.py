"""Credentials of strangers' files, read in a child process that can do no harm and is bounded in all that it takes.

The parser is native code and the file anybody's: what kills the child is an answer about the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from moderation.verification import Verification

WALL_SECONDS = 10.0
TEXT_LIMIT = 512  # characters of any one text that the file brings
LIST_LIMIT = 32
_ROOT = Path(__file__).parents[1]
_SIGNATURES = {"video/mp4": (4, b"ftyp"), "image/webp": (8, b"WEBP"), "image/jpeg": (0, b"\xff\xd8\xff")}


def kind_of(content: bytes) -> str | None:
    """The media type by the first bytes; None for a file of another kind than we publish."""
    found = (mime for mime, (at, mark) in _SIGNATURES.items() if content[at : at + len(mark)] == mark)
    return next(found, None)


def detect(content: bytes, mime: str, trust_root_pem: str | None) -> Verification:
    """What the file says and whether it holds. One that breaks the parser or its limits is invalid."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        command = [sys.executable, "-m", "moderation.detection", mime, trust_root_pem or ""]
        # None of our environment: it holds secrets.
        environment = {"PYTHONPATH": str(_ROOT), "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        try:
            child = subprocess.run(
                command,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                timeout=WALL_SECONDS,
                check=True,
            )
            told: dict[str, Any] = json.loads(child.stdout)
        except (subprocess.SubprocessError, ValueError):
            return Verification("invalid", ("kinema.unreadable",))
    return Verification(**{name: _bounded(value) for name, value in told.items()})


def _bounded(value: Any) -> Any:
    """Texts of a file are as long as its maker likes; an answer is not."""
    if isinstance(value, list):
        return tuple(str(each)[:TEXT_LIMIT] for each in value[:LIST_LIMIT])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - of JSON
    return value[:TEXT_LIMIT] if isinstance(value, str) else value
