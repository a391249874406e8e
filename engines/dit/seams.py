"""Joining drawn frames to the known ones before them, without a jump.

A model does not always go on where it was told to: colours shift, a detail moves. What a seam jumps more than frames
usually differ is added to the frames behind it, all of it at first and less with every frame. Where the model does go
on, next to nothing is added.

Legend: T frames, H W pixels, C colours. Frames are float32 from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.float32]


@dataclass(slots=True)
class Seams:
    """Passes the frames of a stretch on, in order. `fade` is the number of frames over which a jump is spread."""

    fade: int
    _last_HWC: Frames | None = None  # as it was drawn
    _lack_HWC: Frames | None = None
    _age: int = 0  # frames since the seam

    def passed(self, frames_THWC: Frames, *, joins: bool = False) -> Frames:
        """The same frames, mended. `joins`: they are the first ones behind known frames."""
        if joins and self._last_HWC is not None:
            self._join(self._last_HWC, frames_THWC)
        self._last_HWC = frames_THWC[-1]
        shares_T = np.array([share(self._age + index, self.fade) for index in range(len(frames_THWC))], np.float32)
        self._age += len(frames_THWC)
        if self._lack_HWC is None or not shares_T.any():
            return frames_THWC
        return (frames_THWC + shares_T[:, None, None, None] * self._lack_HWC).astype(np.float32, copy=False)

    def _join(self, last_HWC: Frames, frames_THWC: Frames) -> None:
        """Note what these frames lack of going on from the last one."""
        jump_HWC = last_HWC - frames_THWC[0]
        excess = max(0.0, 1 - usual(frames_THWC) / max(float(np.abs(jump_HWC).mean()), 1e-6))
        lack_HWC = np.float32(excess) * jump_HWC
        if self._lack_HWC is not None:
            lack_HWC = lack_HWC + share(self._age, self.fade) * self._lack_HWC
        self._lack_HWC, self._age = lack_HWC.astype(np.float32, copy=False), 0


def share(distance: int, reach: int) -> np.float32:
    """How much a frame takes of what another lacks: 1 beside it, 0 from `reach` frames on, smooth at both ends."""
    x = min(1.0, distance / max(reach, 1))
    return np.float32(1 - x * x * (3 - 2 * x))


def usual(frames_THWC: Frames) -> float:
    """By how much these frames differ from one to the next; 0 for a single one."""
    if len(frames_THWC) == 1:
        return 0.0
    return float(np.median(np.abs(np.diff(frames_THWC, axis=0)).mean(axis=(1, 2, 3))))
