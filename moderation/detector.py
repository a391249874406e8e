"""Credentials of strangers' files, read in a child process that can do no harm and is bounded in all that it takes.

The parser is native code and the file anybody's: what kills the child is an answer about the file.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from domain.errors import Unavailable
from moderation.verification import Verification

log = logging.getLogger(__name__)

READY = b"\n"  # the child's first word, once it is confined
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
    """What the file says and whether it holds. One that breaks the parser or its limits is invalid.

    Raises Unavailable if the child could not begin: that is no answer about the file.
    """
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        told = _run([sys.executable, "-m", "moderation.detection", mime, trust_root_pem or ""], file)
    if not told.startswith(READY):
        log.error("the child that verifies files does not start")
        raise Unavailable("Files cannot be verified at the moment. Please try again shortly.")
    try:
        found: dict[str, Any] = json.loads(told)
    except ValueError:
        return Verification("invalid", ("kinema.unreadable",))
    return Verification(**{name: _bounded(value) for name, value in found.items()})


def _run(command: list[str], file: IO[bytes]) -> bytes:
    """What the child has said when it ended, or when its time was over."""
    # None of our environment: it holds secrets.
    environment = {"PYTHONPATH": str(_ROOT), "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/"
    ) as child:
        try:
            return child.communicate(timeout=WALL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            return child.communicate()[0]


def _bounded(value: Any) -> Any:
    """Texts of a file are as long as its maker likes; an answer is not."""
    if isinstance(value, list):
        return tuple(str(each)[:TEXT_LIMIT] for each in value[:LIST_LIMIT])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - of JSON
    return value[:TEXT_LIMIT] if isinstance(value, str) else value
