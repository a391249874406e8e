"""Judges of colour: which name of the palette a colour, a background, a ground or a planet goes by."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor

from engines.dit.checkers.frames import chroma, shrunk
from engines.dit.data.words import COLOURS

NAMES = tuple(COLOURS)
PALETTE = torch.tensor([COLOURS[name] for name in NAMES])
TINTED = [index for index, name in enumerate(NAMES) if name not in ("white", "black")]
TINT = 0.30  # chroma by brightness, from which on a dim pixel has a hue
LIT = 0.10  # the dark side of a planet is nothing to judge


def nearest_colour(colour_C: Tensor) -> str:
    """The palette's name for a colour; brightness counts less than hue."""
    return NAMES[int(distance(colour_C[None], PALETTE).argmin())]


def distance(a_NC: Tensor, b_MC: Tensor) -> Tensor:
    """Squared distance of colours with a quarter of the weight on brightness: [N,M]."""
    difference = a_NC[:, None] - b_MC[None]
    brightness = difference.mean(-1)
    return (difference - brightness[..., None]).square().sum(-1) + 0.75 * brightness.square()


def vote(pixels_NC: Tensor) -> str | None:
    """The name that most pixels have; None without pixels."""
    if not len(pixels_NC):
        return None
    votes = torch.bincount(distance(pixels_NC, PALETTE).argmin(1), minlength=len(NAMES))
    return NAMES[int(votes.argmax())]


def background(video_TCHW: Tensor) -> str:
    """Colour of the upper corners."""
    edge = video_TCHW.shape[-1] // 8
    top = video_TCHW[:, :, : video_TCHW.shape[-2] // 8]
    return nearest_colour(torch.cat([top[..., :edge], top[..., -edge:]], -1).mean((0, 2, 3)))


def ground(video_TCHW: Tensor) -> str:
    """Colour of the lower corners."""
    edge, height = video_TCHW.shape[-1] // 8, video_TCHW.shape[-2]
    low = video_TCHW[:, :, -height // 4 : -height // 7]  # above the bar of a film
    return nearest_colour(torch.cat([low[..., :edge], low[..., -edge:]], -1).mean((0, 2, 3)))


def planet(video_TCHW: Tensor) -> str | None:
    """Hue of what is lit and tinted before a dark sky; a shaded pixel counts for the colour that it shades."""
    small_TCHW = shrunk(video_TCHW, 72)
    brightest = small_TCHW.amax(1)
    tinted = (brightest > LIT) & (chroma(small_TCHW) > TINT * brightest)
    pixels_NC = small_TCHW.permute(0, 2, 3, 1)[tinted]
    if not len(pixels_NC):
        return None
    likeness = torch.nn.functional.normalize(pixels_NC, dim=1) @ torch.nn.functional.normalize(PALETTE[TINTED], dim=1).T
    weight = pixels_NC.norm(dim=1)
    votes = torch.zeros(len(TINTED)).index_add_(0, likeness.argmax(1), weight)
    return NAMES[TINTED[int(votes.argmax())]]
