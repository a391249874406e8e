"""A clip that somebody has: decoded again and again as a render needs it, never held in memory as a whole.

Shape suffixes: T frames, H height, W width, C colour channels (RGB).
"""

# pyright: reportUnknownMemberType=false
# PyAV's stubs leave the keyword arguments of streams open.
from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from domain.video import Size

CHUNK = 8  # frames
OPTIONS = {"protocol_whitelist": "file"}


class FootageError(ValueError):
    """The clip cannot be read."""


@dataclass(frozen=True, slots=True)
class Footage:
    """An MP4 on disk, shown as if it had been made at any size and rate."""

    path: Path

    def frames(self, size: Size, fps: int, count: int) -> Iterator[NDArray[np.uint8]]:
        """Chunks of `frames_THWC` (uint8 RGB, `size`), `count` frames in all, `fps` a second.

        Each is the picture that a player would show at that moment; the last one stays for what is missing at the
        end. The whole picture is stretched to the size. Raises FootageError.
        """
        chunk: list[NDArray[np.uint8]] = []
        for picture_HWC in self._shown(size, fps, count):
            chunk.append(picture_HWC)
            if len(chunk) == CHUNK:
                yield np.stack(chunk)
                chunk = []
        if chunk:
            yield np.stack(chunk)

    def last(self, size: Size) -> NDArray[np.uint8]:
        """The last picture as `frame_HWC`. Raises FootageError."""
        tail = deque(self._pictures(size), maxlen=1)
        if not tail:
            raise FootageError(f"{self.path.name} holds no pictures")
        return tail[0][1]

    def _shown(self, size: Size, fps: int, count: int) -> Iterator[NDArray[np.uint8]]:
        shown = 0
        held: NDArray[np.uint8] | None = None
        for second, picture_HWC in self._pictures(size):
            if held is not None:
                while shown < count and Fraction(shown, fps) < second:
                    yield held
                    shown += 1
            if shown == count:
                return
            held = picture_HWC
        if held is None:
            raise FootageError(f"{self.path.name} holds no pictures")
        for _ in range(shown, count):
            yield held

    def _pictures(self, size: Size) -> Iterator[tuple[Fraction, NDArray[np.uint8]]]:
        """Every picture with the second at which it appears, counted from the first."""
        try:
            with av.open(str(self.path), format="mp4", container_options=OPTIONS) as container:
                start: Fraction | None = None
                for picture in container.decode(video=0):
                    second = Fraction(picture.pts or 0) * (picture.time_base or 0)
                    start = second if start is None else start
                    frame_HWC = picture.to_ndarray(format="rgb24", width=size.width, height=size.height)
                    yield second - start, frame_HWC.astype(np.uint8, copy=False)
        except (FFmpegError, IndexError) as error:
            raise FootageError(f"{self.path.name} is no readable clip: {error}") from error
