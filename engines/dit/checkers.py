"""Judges without taste: what colours, motion and scene a clip shows, measured from its pixels alone.

Each judge is right on clips of the renderer (its ceiling) and wrong on shuffled captions (its chance); `evaluate`
measures both next to the model. Legend: T frames, H height, W width, C colours in [0, 1].
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.data import clip, draw
from engines.dit.data.words import COLOURS

NAMES = tuple(COLOURS)
PALETTE = torch.tensor([COLOURS[name] for name in NAMES])
DIFFERENT = 0.14  # a pixel this far from the background belongs to the object
MOVED = 0.12  # of the frame: a smaller way is standing still
MANY = 6  # pixels: fewer are no object
THUMBNAIL = (9, 16)


def nearest_colour(colour_C: Tensor) -> str:
    """The palette's name for a colour; brightness counts less than hue."""
    return NAMES[int(distance(colour_C[None], PALETTE).argmin())]


def distance(a_NC: Tensor, b_MC: Tensor) -> Tensor:
    """Distance of colours with half the weight on brightness: [N,M]."""
    difference = a_NC[:, None] - b_MC[None]
    brightness = difference.mean(-1)
    return (difference - brightness[..., None]).square().sum(-1) + 0.75 * brightness.square()


def background(video_TCHW: Tensor) -> str:
    """Colour of the upper corners."""
    edge = video_TCHW.shape[-1] // 8
    top = video_TCHW[:, :, : video_TCHW.shape[-2] // 8]
    return nearest_colour(torch.cat([top[..., :edge], top[..., -edge:]], -1).mean((0, 2, 3)))


def object_mask(video_TCHW: Tensor) -> Tensor:
    """Pixels unlike their row's usual colour: [T,H,W] of 0 and 1."""
    video_TCHW = video_TCHW.contiguous()  # torch 2.13 returns garbage for the median of an expanded tensor
    usual = video_TCHW.median(0).values.median(-1, keepdim=True).values
    return ((video_TCHW - usual).abs().amax(1) > DIFFERENT).float()


def object_colour(video_TCHW: Tensor) -> str | None:
    """Colour of the object, by vote of its pixels; None if there is no object."""
    pixels = video_TCHW.permute(0, 2, 3, 1)[object_mask(video_TCHW) > 0]
    if len(pixels) < MANY * len(video_TCHW):
        return None
    votes = torch.bincount(distance(pixels, PALETTE).argmin(1), minlength=len(NAMES))
    return NAMES[int(votes.argmax())]


def motion(video_TCHW: Tensor) -> str | None:
    """left, right, up, down or bounce, from the track of the object's centre; None if it stands still."""
    mask = object_mask(video_TCHW)
    size = mask.sum((1, 2))
    seen = size > MANY
    if seen.sum() < len(mask) // 2:
        return None
    y = (mask.sum(2) * torch.linspace(0, 1, mask.shape[1])).sum(1)[seen] / size[seen]
    x = (mask.sum(1) * torch.linspace(0, 1, mask.shape[2])).sum(1)[seen] / size[seen]
    quarter = max(1, len(x) // 4)
    across, down = ((way[-quarter:].mean() - way[:quarter].mean()).item() for way in (x, y))
    turns = (y.max() - y.min()).item()
    if abs(across) < MOVED and abs(down) < 0.75 * turns and turns > MOVED:
        return "bounce"
    if max(abs(across), abs(down)) < MOVED:
        return None
    if abs(across) > abs(down):
        return "right" if across > 0 else "left"
    return "down" if down > 0 else "up"


class SceneJudge:
    """The scene of a clip, by its nearest neighbour among clips of the renderer."""

    def __init__(self, seeds: Sequence[int], height: int, width: int) -> None:
        clips = [clip(seed) for seed in seeds]
        self.families = [one.family for one in clips]
        self.known = torch.stack([thumbnail(draw([one], 1, height, width)[0][0]) for one in clips])

    def family(self, video_TCHW: Tensor) -> str:
        """The family that a clip looks like."""
        far = (self.known - thumbnail(video_TCHW)).square().sum(1)
        votes = [self.families[int(index)] for index in far.topk(5, largest=False).indices]
        return max(set(votes), key=votes.count)


def thumbnail(video_TCHW: Tensor) -> Tensor:
    """The first frame, very small, as a row of numbers."""
    small = functional.interpolate(video_TCHW[:1], THUMBNAIL, mode="area")
    return small.flatten()
