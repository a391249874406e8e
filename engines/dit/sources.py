"""The clip that an edit is painted over or an extension goes on with, read and encoded as far as a window needs it.

Legend: B clips, L latent frames, Z latent channels, h w latent positions, T frames, C colours, H W pixels.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domain.video import Plan, Size
from engines.dit.pictures import scaled, video_of
from engines.dit.windows import HISTORY, PACE
from engines.footage import Footage

Encode = Callable[[Tensor], Tensor]  # video_TCHW -> latents_BLZhw, B = 1

BEFORE = 1 + PACE  # frames from which on a latent frame is encoded as if all before it had been seen
TAIL = 1 + PACE * (HISTORY + 1)  # frames of a source that its last latent frames are encoded from


class Under:
    """The latents of a clip, in order. The same as if all of it were encoded at once; memory does not grow."""

    def __init__(self, frames: Iterator[NDArray[np.uint8]], size: Size, encode: Encode) -> None:
        self._frames, self._size, self._encode = frames, size, encode
        self._seen_TCHW = torch.zeros(0)  # the last frames that were encoded

    def next(self, latents: int) -> Tensor:
        """So many further latent frames: [1,L,Z,h,w]. The first of all is the first frame alone."""
        opens = len(self._seen_TCHW) == 0
        count = PACE * latents - 3 * opens
        fresh_TCHW = scaled(video_of(np.stack([next(self._frames) for _ in range(count)])), self._size)
        video_TCHW = fresh_TCHW if opens else torch.cat([self._seen_TCHW, fresh_TCHW])
        self._seen_TCHW = video_TCHW[-BEFORE:]
        return self._encode(video_TCHW)[:, -latents:]


def frames(source: Footage, plan: Plan, count: int) -> Iterator[NDArray[np.uint8]]:
    """The first `count` frames of a source, as the plan draws it; the last one stays for what is missing."""
    chunks = source.frames(plan.rendered, plan.rendered_fps, count)
    return (frame_HWC for chunk_THWC in chunks for frame_HWC in chunk_THWC)


def tail(source: Footage, plan: Plan) -> NDArray[np.uint8]:
    """The last `TAIL` frames_THWC of an extension's source up to the one that is shown last, at the drawn rate."""
    every = plan.fps // plan.rendered_fps
    last: deque[NDArray[np.uint8]] = deque(maxlen=every * (TAIL - 1) + 1)
    for chunk_THWC in source.frames(plan.rendered, plan.fps, max(1, plan.source_frames)):
        last.extend(chunk_THWC)
    shown = list(last)[::-1][::every][::-1]
    return np.stack([shown[0]] * (TAIL - len(shown)) + shown)
