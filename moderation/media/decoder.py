"""Decoding strangers' files for a process that must not do it itself: API threads, workers."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import IO, Any, cast

from domain.errors import Unavailable
from moderation.media.limits import MEBIBYTE, MOST_CLIP_PIXELS, Limits, Reason
from moderation.media.sniffing import is_plain_mp4, is_plain_png

PLACES = 4  # decodes at once; of them
CLIP_PLACES = 2  # may take minutes
PATIENCE_SECONDS = 1.0  # for a place
START_SECONDS = 20.0  # for the zygote to be warm
PICTURES = Limits()
_KILLED_BY_LIMITS = (-signal.SIGKILL, -signal.SIGXCPU, -signal.SIGXFSZ)
_NONSENSE = (KeyError, TypeError, ValueError, OverflowError, struct.error)
_BROKEN = "The file could not be decoded. Please try again shortly."
log = logging.getLogger(__name__)
_ROOT = Path(__file__).parents[2]


def clip_limits(seconds: float) -> Limits:
    """Of a clip that may be so long."""
    return Limits(
        seconds=seconds,
        pixels=MOST_CLIP_PIXELS,
        cpu_seconds=90,
        wall_seconds=180.0,
        memory_bytes=1024 * MEBIBYTE,
        file_bytes=64 * MEBIBYTE,
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture made anew: PNG, RGB, nothing but pixels."""

    png: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip made anew: MP4, H.264, no sound. `seconds` = `frames` / `fps`."""

    mp4: bytes = field(repr=False)
    width: int
    height: int
    fps: float
    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Unreadable:
    """There is nothing to be had of it."""

    reason: Reason


class Decoder:
    """Hands files to children of a zygote, few at a time. The zygote starts with the first file."""

    def __init__(self) -> None:
        self._places = BoundedSemaphore(PLACES)
        self._clip_places = BoundedSemaphore(CLIP_PLACES)
        self._starting = Lock()
        self._zygote: _Zygote | None = None

    def picture(
        self, content: bytes, size: tuple[int, int] | None = None, limits: Limits = PICTURES
    ) -> Picture | Unreadable:
        """The picture as clean PNG, of exactly `size` if one is given. Raises Unavailable: too busy, or broken."""
        with _place(self._places):
            facts, png = self._decode(content, {"kind": "picture", "size": size}, limits)
        return facts if isinstance(facts, Unreadable) else _picture(facts, png)

    def clip(self, content: bytes, limits: Limits) -> Clip | Unreadable:
        """The clip as clean MP4, within `clip_limits`. Raises Unavailable: too much to do, or broken."""
        with _place(self._clip_places), _place(self._places):
            facts, mp4 = self._decode(content, {"kind": "clip"}, limits)
        return facts if isinstance(facts, Unreadable) else _clip(facts, mp4)

    def close(self) -> None:
        """End the zygote and whatever it has at work."""
        with self._starting:
            if self._zygote is not None:
                self._zygote.end()
                self._zygote = None

    def _decode(
        self, content: bytes, task: dict[str, Any], limits: Limits
    ) -> tuple[dict[str, Any] | Unreadable, bytes]:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
            source.write(content)
            source.seek(0)
            answer = self._ask(source, target, {**task, "limits": asdict(limits)}, limits.wall_seconds)
            if answer.keys() & {"reason", "status"}:
                return _failure(answer), b""
            target.seek(0)
            return answer, target.read()

    def _ask(self, source: IO[bytes], target: IO[bytes], task: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The child's answer, or how it ended. Raises Unavailable if the zygote itself ends or hangs."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                descriptors = [source.fileno(), target.fileno(), theirs.fileno()]
                zygote = self._send(json.dumps(task).encode(), descriptors)
            ours.settimeout(seconds + START_SECONDS)
            try:
                told = ours.recv(4096)
            except TimeoutError:
                told = b""
        if not told:
            self._discard(zygote)
            raise Unavailable(_BROKEN)
        answer = _read(told)
        if "broken" in answer:
            log.error("files cannot be decoded safely here", extra={"error": answer["broken"]})
            raise Unavailable(_BROKEN)
        return answer

    def _send(self, message: bytes, descriptors: list[int]) -> _Zygote:
        """To the zygote that runs, or to a new one: the one that has it."""
        with self._starting:
            for _ in range(2):
                if self._zygote is None:
                    self._zygote = _Zygote()
                try:
                    socket.send_fds(self._zygote.control, [message], descriptors)
                except OSError:  # it was killed
                    self._zygote.end()
                    self._zygote = None
                else:
                    return self._zygote
        raise Unavailable(_BROKEN)

    def _discard(self, zygote: _Zygote) -> None:
        """Done with one that answers no more; another thread may have replaced it already."""
        with self._starting:
            zygote.end()
            if self._zygote is zygote:
                self._zygote = None


class _Zygote:
    """The running process, and our end of its socket."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # None of our environment: it holds secrets.
        environment = {"PYTHONPATH": str(_ROOT), "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moderation.media.zygote"], stdin=theirs.fileno(), env=environment, cwd="/"
            )

    def end(self) -> None:
        """It ends by itself when the socket is closed; it is not asked twice."""
        self.control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


# A child that was taken over may say and write anything: what it says is read with care.


def _read(told: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(told)
    except ValueError:
        answer = None
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {"reason": Reason.UNREADABLE}


def _failure(answer: dict[str, Any]) -> Unreadable:
    if answer.get("status") in _KILLED_BY_LIMITS:
        return Unreadable(Reason.EXPENSIVE)
    return Unreadable(next((reason for reason in Reason if reason == answer.get("reason")), Reason.UNREADABLE))


def _picture(facts: dict[str, Any], png: bytes) -> Picture | Unreadable:
    try:
        made = Picture(png, int(facts["width"]), int(facts["height"]))
        plain = is_plain_png(png, made.width, made.height)
    except _NONSENSE:
        return Unreadable(Reason.UNREADABLE)
    return made if plain else Unreadable(Reason.UNREADABLE)


def _clip(facts: dict[str, Any], mp4: bytes) -> Clip | Unreadable:
    try:
        whole = {name: int(facts[name]) for name in ("width", "height", "frames")}
        made = Clip(mp4, **whole, fps=float(facts["fps"]), seconds=float(facts["seconds"]))
    except _NONSENSE:
        return Unreadable(Reason.UNREADABLE)
    sane = math.isfinite(made.fps) and math.isfinite(made.seconds) and is_plain_mp4(mp4)
    return made if sane else Unreadable(Reason.UNREADABLE)


@contextmanager
def _place(places: BoundedSemaphore) -> Generator[None]:
    if not places.acquire(timeout=PATIENCE_SECONDS):
        raise Unavailable("Too many files are being decoded at the moment. Please try again shortly.")
    try:
        yield
    finally:
        places.release()
