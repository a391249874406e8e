"""Between our frames and the library's pictures. A canvas is what a pipeline draws: the clip's size, rounded up.

Shape suffixes: T frames, H height, W width, C colour channels (RGB).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from domain.video import Size

Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Canvas:
    """`size` in the middle of `drawn`, which is no smaller."""

    size: Size
    drawn: Size

    def picture(self, picture_HWC: Frames) -> Image.Image:
        """Cut to the clip's shape around the centre, scaled, and its edges drawn out to the canvas."""
        return self.spread(fit(picture_HWC, self.size))

    def spread(self, frame_HWC: Frames) -> Image.Image:
        """A frame of the clip's size on the canvas."""
        top, left = self._corner
        below = self.drawn.height - self.size.height - top
        right = self.drawn.width - self.size.width - left
        return Image.fromarray(np.pad(frame_HWC, ((top, below), (left, right), (0, 0)), mode="edge"))

    def cropped(self, frames_THWC: Frames) -> Frames:
        """Drawn frames at the clip's size."""
        top, left = self._corner
        return np.ascontiguousarray(frames_THWC[:, top : top + self.size.height, left : left + self.size.width])

    @property
    def _corner(self) -> tuple[int, int]:
        return (self.drawn.height - self.size.height) // 2, (self.drawn.width - self.size.width) // 2


def fit(picture_HWC: Frames, size: Size) -> Frames:
    """The centre of a picture in the shape of `size`, at that size."""
    height, width = picture_HWC.shape[:2]
    if (width, height) == (size.width, size.height):
        return np.ascontiguousarray(picture_HWC[..., :3])
    scale = min(width / size.width, height / size.height)
    wide, tall = size.width * scale, size.height * scale
    box = ((width - wide) / 2, (height - tall) / 2, (width + wide) / 2, (height + tall) / 2)
    picture = Image.fromarray(np.ascontiguousarray(picture_HWC[..., :3]))
    return np.asarray(picture.resize((size.width, size.height), Image.Resampling.LANCZOS, box=box))


def alpha(mask_HW: Frames, size: Size) -> NDArray[np.float32]:
    """A mask at the clip's size, from 0 (kept) to 1 (repainted), with a channel to multiply by."""
    picture = Image.fromarray(mask_HW).resize((size.width, size.height), Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32)[..., None] / np.float32(255)


def blended(kept_THWC: Frames, new_THWC: Frames, alpha_HWC: NDArray[np.float32]) -> Frames:
    """New where alpha is 1, kept where it is 0."""
    kept = kept_THWC.astype(np.float32)
    return np.rint(kept + alpha_HWC * (new_THWC.astype(np.float32) - kept)).astype(np.uint8)


def gathered(chunks_THWC: Iterable[Frames]) -> Frames:
    """All chunks in one."""
    return np.concatenate(list(chunks_THWC))
