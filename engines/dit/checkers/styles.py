"""Judge of the styles that lie over the whole screen: bars of a film, pencil on paper, black and white."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor

from engines.dit.checkers.frames import chroma, grey, shrunk

BAR = 1 / 9  # of the short side
BLACK = 0.03  # brightness of a film's bars
STEP = 0.007  # from a bar to the darkest picture
GREY = 0.025  # chroma of black and white
SHEET = 0.5  # brightness of the paper between the strokes
WARM = (0.025, 0.10)  # how much redder than blue paper and pencil are, by their brightness
UNIFORM = 0.075


def screened(video_TCHW: Tensor) -> str | None:
    """cinematic, noir, sketch, or None."""
    small_TCHW = shrunk(video_TCHW[:: max(1, len(video_TCHW) // 12)], 72)
    if has_bars(small_TCHW):
        return "cinematic"
    if is_paper(small_TCHW):
        return "sketch"
    return "noir" if is_grey(small_TCHW) else None


def has_bars(small_TCHW: Tensor) -> bool:
    """Black at the top and at the bottom, and a step to the picture between."""
    rows = grey(small_TCHW).mean(0).median(-1).values  # [H]
    bar = round(BAR * min(small_TCHW.shape[-2:]))
    upper, lower = rows[: bar - 1], rows[1 - bar :]
    steps = rows[bar + 1 : bar + 3].mean() - upper.mean(), rows[-bar - 3 : -bar - 1].mean() - lower.mean()
    return bool(max(upper.max(), lower.max()) < BLACK) and bool(min(steps) > STEP)


def is_paper(small_TCHW: Tensor) -> bool:
    """Neither colour nor grey: over half of it has the same faint warm tint, and much light."""
    light = grey(small_TCHW)
    red, _, blue = small_TCHW.unbind(1)
    low, middle, high = ((red - blue) / (light + 0.02)).flatten().quantile(torch.tensor((0.4, 0.5, 0.9))).tolist()
    bright = light > light.flatten().quantile(0.67)
    return WARM[0] < middle < WARM[1] and high - low < UNIFORM and bool(light[bright].mean() > SHEET)


def is_grey(small_TCHW: Tensor) -> bool:
    """No colour on the whole, nor on something small."""
    tint = chroma(small_TCHW)
    return bool(tint.mean() < GREY) and bool(tint.flatten().quantile(0.99) < 4 * GREY)
