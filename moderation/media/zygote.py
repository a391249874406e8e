"""The process that decoding children are forked from: single-threaded, warm, and without a secret in its memory.

`python -m moderation.media.zygote` speaks over the socket that it has as standard input: one datagram per decode,
with the source, the target and the answer's socket as descriptors. It ends with whoever holds the other end.
"""

# pyright: reportUnknownMemberType=false
# PyAV's stubs leave the packet type and the keyword arguments of streams open.
from __future__ import annotations

import errno
import gc
import json
import math
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from types import FrameType
from typing import IO, Any

import av
from av.video.frame import VideoFrame
from PIL import Image

from moderation.media import clips, pictures
from moderation.media.confinement import confine, die_with_parent
from moderation.media.limits import Limits, Reason, Refusal

MESSAGE_BYTES = 4096
DESCRIPTORS = 3  # source, target, answer
_WARMED = ("PNG", "JPEG", "WEBP")


@dataclass(slots=True)
class _Child:
    deadline: float
    answer: socket.socket  # kept so that an end without an answer can be told


@dataclass(slots=True)
class Zygote:
    """The children at work, by process id."""

    control: socket.socket
    children: dict[int, _Child] = field(default_factory=dict[int, _Child])

    def run(self, woken: int) -> None:
        """Fork, bound and reap until the other end is closed."""
        while True:
            ready, _, _ = select.select([self.control, woken], [], [], self._patience())
            if woken in ready:
                os.read(woken, 64)
            self._reap()
            self._kill_overdue()
            if self.control in ready and not self._accept():
                break
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)

    def _patience(self) -> float | None:
        first = min((child.deadline for child in self.children.values()), default=math.inf)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    def _accept(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self.control, MESSAGE_BYTES, DESCRIPTORS)
        if not message:
            return False
        task = json.loads(message)
        limits = Limits(**task["limits"])
        answer = socket.socket(fileno=descriptors[2])
        pid = os.fork()
        if pid == 0:
            _decode(task, limits, descriptors, answer)
        for descriptor in descriptors[:2]:
            os.close(descriptor)
        self.children[pid] = _Child(time.monotonic() + limits.wall_seconds, answer)
        return True

    def _reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self.children.pop(pid)
            with child.answer, suppress(OSError):
                # Whoever has read an answer is gone; to whoever waits, this is the end.
                child.answer.send(json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode())

    def _kill_overdue(self) -> None:
        for pid, child in self.children.items():
            if child.deadline <= time.monotonic():
                os.kill(pid, signal.SIGKILL)
                child.deadline = math.inf


def _decode(task: dict[str, Any], limits: Limits, descriptors: list[int], answer: socket.socket) -> None:
    """The child, from its first to its last moment."""
    try:
        die_with_parent()
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _keep_only([*descriptors[:2], answer.fileno()])
        source, target = os.fdopen(descriptors[0], "rb"), os.fdopen(descriptors[1], "r+b")
        told = _confined(limits) or _outcome(task, limits, source, target)
        target.flush()
    except BaseException:  # noqa: BLE001 - a hostile file makes a decoder raise anything
        told = {"reason": Reason.UNREADABLE}
    os.write(answer.fileno(), json.dumps(told).encode())
    os._exit(0)


def _confined(limits: Limits) -> dict[str, Any] | None:
    """What keeps this process from being confined: then it decodes nothing."""
    try:
        confine(limits)
    except OSError as error:
        return {"broken": f"{type(error).__name__} {error.errno}"}
    return None


def _outcome(task: dict[str, Any], limits: Limits, source: IO[bytes], target: IO[bytes]) -> dict[str, Any]:
    try:
        if task["kind"] == "clip":
            return clips.reencode(source, target, limits)
        size = task["size"]
        return pictures.reencode(source, target, None if size is None else (size[0], size[1]), limits)
    except Refusal as refusal:
        return {"reason": refusal.reason}
    except MemoryError:
        return {"reason": Reason.EXPENSIVE}
    except OSError as error:
        return {"reason": Reason.EXPENSIVE if error.errno == errno.EFBIG else Reason.UNREADABLE}


def _keep_only(descriptors: list[int]) -> None:
    """Close whatever else was inherited: the way to the zygote, other answers. Standard streams lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    for before, after in pairwise([2, *sorted(descriptors), os.sysconf("SC_OPEN_MAX")]):
        os.closerange(before + 1, after)


def warm_up() -> None:
    """Decode one of each kind, so that nothing is left to be loaded when nothing can be any more."""
    limits = Limits(seconds=10)
    for kind in _WARMED:
        picture = BytesIO()
        Image.new("RGBA" if kind != "JPEG" else "RGB", (64, 64)).save(picture, kind)
        picture.seek(0)
        pictures.reencode(picture, BytesIO(), None, limits)
    clips.reencode(_clip(), BytesIO(), limits)


def _clip() -> BytesIO:
    clip = BytesIO()
    with av.open(clip, "w", format="mp4") as made:
        stream = made.add_stream("libx264", rate=5, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(3):
            made.mux(stream.encode(VideoFrame(64, 64, "yuv420p")))
        made.mux(stream.encode(None))
    clip.seek(0)
    return clip


def main() -> None:
    """Until the other end closes."""
    control = socket.socket(fileno=os.dup(0))
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, _nothing)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that we serve
    signal.set_wakeup_fd(wake)
    warm_up()
    gc.freeze()  # what children never touch, they need not copy
    Zygote(control).run(woken)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The wakeup descriptor has told already."""


if __name__ == "__main__":
    sys.exit(main())
