"""Judge of what falls: rain leaves long upright streaks, snow leaves dots."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.checkers.frames import grey, shrunk, slopes

SHORT = 108
LEAST = 3e-5  # less that comes and goes is dry weather
UPRIGHT = 1.45  # rain: this much more contrast across than along


def weather(video_TCHW: Tensor) -> str | None:
    """snow, rain, or None if nothing falls."""
    falling_THW = fleeting(grey(shrunk(video_TCHW[:: max(1, len(video_TCHW) // 24)], SHORT)))
    if falling_THW.square().mean() < LEAST:
        return None
    across, down = (each.square().mean().item() for each in slopes(falling_THW))
    return "rain" if across > UPRIGHT * down else "snow"


def fleeting(grey_THW: Tensor) -> Tensor:
    """What is brighter than the same place usually is, without large soft changes."""
    usual = grey_THW.contiguous().median(0, keepdim=True).values
    extra = (grey_THW - usual).clamp(min=0)
    soft = functional.avg_pool2d(functional.pad(extra[:, None], (7,) * 4, mode="reflect"), 15, 1)[:, 0]
    return torch.where(extra > 2 * soft, extra, 0.0)
