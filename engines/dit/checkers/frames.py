"""What every judge does first: frames made small, grey, and differences of neighbours.

Legend of suffixes: T frames, C colours in [0, 1], H height, W width.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)


def shrunk(video_TCHW: Tensor, short: int) -> Tensor:
    """The frames with a short side of at most `short` pixels, each the mean of what it covers."""
    height, width = video_TCHW.shape[-2:]
    scale = short / min(height, width)
    if scale >= 1:
        return video_TCHW.contiguous()
    return functional.interpolate(video_TCHW, (round(height * scale), round(width * scale)), mode="area")


def grey(video_TCHW: Tensor) -> Tensor:
    """Brightness: [T,H,W]."""
    return (video_TCHW * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1)


def chroma(video_TCHW: Tensor) -> Tensor:
    """How far from grey each pixel is: [T,H,W]."""
    return video_TCHW.amax(1) - video_TCHW.amin(1)


def slopes(grey_THW: Tensor) -> tuple[Tensor, Tensor]:
    """Change of brightness to the right and downwards, in units per pixel, zero at the border: [T,H,W] each."""
    across, down = torch.zeros_like(grey_THW), torch.zeros_like(grey_THW)
    across[:, :, 1:-1] = (grey_THW[:, :, 2:] - grey_THW[:, :, :-2]) / 2
    down[:, 1:-1] = (grey_THW[:, 2:] - grey_THW[:, :-2]) / 2
    return across, down
