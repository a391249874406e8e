"""Between given pictures and drawn frames: fitting, keeping what the codec loses, and painting within a mask.

Legend: T frames, H W pixels, C colours, h w latent positions. Frames are float32 from 0 to 1 unless said otherwise.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from domain.video import Size
from engines.dit.seams import share
from engines.protocol import Unrenderable

Frame = NDArray[np.float32]  # HWC

BLOCK = 16  # pixels of one token: 8 of the autoencoder, 2 of the transformer's patch
EDGE = 48  # a mask's edge is soft over one part in this many of the short side


def fit(picture_HWC: NDArray[np.uint8], size: Size) -> Tensor:
    """Cut the centre in the shape of `size` out of a picture, and scale it -> picture_CHW in [0, 1]."""
    height, width = picture_HWC.shape[:2]
    scale = min(width / size.width, height / size.height)
    tall, wide = max(1, round(size.height * scale)), max(1, round(size.width * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    cut_HWC = np.ascontiguousarray(picture_HWC[top : top + tall, left : left + wide, :3])
    return scaled(video_of(cut_HWC[None]), size)[0]


def video_of(frames_THWC: NDArray[np.uint8]) -> Tensor:
    """uint8 frames -> video_TCHW in [0, 1]."""
    return torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float() / 255


def scaled(video_TCHW: Tensor, size: Size) -> Tensor:
    """The video at another size."""
    if video_TCHW.shape[-2:] == (size.height, size.width):
        return video_TCHW
    wanted = (size.height, size.width)
    return functional.interpolate(video_TCHW, wanted, mode="bicubic", antialias=True).clamp(0, 1)


def frames_of(video_TCHW: Tensor) -> NDArray[np.float32]:
    """Frames_THWC of a video."""
    return video_TCHW.permute(0, 2, 3, 1).contiguous().numpy()


def bytes_of(frames_THWC: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Frames as they leave an engine. Raises Unrenderable for what is no picture."""
    if not np.isfinite(frames_THWC).all():
        raise Unrenderable("the model drew numbers that are not finite")
    return np.rint(frames_THWC.clip(0, 1) * 255).astype(np.uint8)


def carried(drawn: Iterable[Frame], given: Mapping[int, Frame], fade: int, *, first: int = 0) -> Iterator[Frame]:
    """Drawn frames from number `first` on, but where a picture is given, that picture itself.

    What a drawn frame lacks of its picture is added to its neighbours too, less with every frame, and nothing of it
    `fade` frames away or at the next picture: so nothing jumps. Holds back at most `fade` frames.
    """
    lacks: list[tuple[int, Frame]] = []  # of the picture before and, once it is reached, of the one that follows
    held: list[Frame] = []
    keyed = sorted(given)
    for number, frame_HWC in enumerate(drawn, first):
        following = next((key for key in keyed if key >= number), None)
        held.append(frame_HWC)
        if following is not None and 0 < following - number < fade:
            continue
        reach = min(fade, following - lacks[0][0]) if lacks and following is not None else fade
        if number in given:
            lacks.append((number, given[number] - frame_HWC))
        for place, each_HWC in enumerate(held, number - len(held) + 1):
            yield _mended(each_HWC, place, lacks, reach)
        held, lacks = [], lacks[-1:]


def _mended(frame_HWC: Frame, number: int, lacks: list[tuple[int, Frame]], reach: int) -> Frame:
    """A frame with its shares of what others lack."""
    for place, lack_HWC in lacks:
        if taken := share(abs(number - place), reach):
            frame_HWC = (frame_HWC + taken * lack_HWC).astype(np.float32, copy=False)
    return frame_HWC


def kept(mask_HW: NDArray[np.uint8], size: Size) -> Tensor:
    """1 where nothing of a latent position's token is repainted, else 0: keep_hw for latents of pictures that large."""
    touched = functional.max_pool2d(_mask(mask_HW, size), BLOCK) > 1 / 510
    return 1.0 - touched[0].float().repeat_interleave(2, 0).repeat_interleave(2, 1)


def alpha(mask_HW: NDArray[np.uint8], size: Size) -> NDArray[np.float32]:
    """How much of each pixel is painted anew: 0 wherever the mask is 0, softer towards its edge within."""
    mask_1HW = _mask(mask_HW, size)
    reach = max(1, min(size.width, size.height) // EDGE)
    around_1HW = functional.pad(mask_1HW[None], (reach,) * 4, mode="replicate")[0]
    share_1HW = functional.avg_pool2d(around_1HW, 2 * reach + 1, 1)  # of the neighbourhood: a half at a straight edge
    return (mask_1HW * (1.5 * share_1HW - 0.5).clamp(min=0.25)).permute(1, 2, 0).contiguous().numpy()


def _mask(mask_HW: NDArray[np.uint8], size: Size) -> Tensor:
    """Stretched to the size, as its source is: mask_1HW in [0, 1]."""
    return scaled(video_of(mask_HW[None, ..., None]), size)[0]


def painted(source_HWC: Frame, drawn_HWC: Frame, alpha_HW1: NDArray[np.float32]) -> Frame:
    """Drawn where alpha is 1, the source where it is 0."""
    return (source_HWC + alpha_HW1 * (drawn_HWC - source_HWC)).astype(np.float32, copy=False)
