"""Judges by likeness to clips of the renderer: the family of a scene, and its style.

Kernel ridge regression over pictures of known clips. Outlines and tones need not be sharp for it, as they are not
behind an autoencoder: what counts is how colours and edges are distributed.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.checkers.frames import chroma, grey, shrunk, slopes
from engines.dit.checkers.styles import screened
from engines.dit.data import Clip, draw

TILES = (9, 16)
MOMENT = 2.0  # seconds into the scene
NEAR, NEAR_IN_TONES = 0.6, 0.4  # how alike counts, by the median distance of two clips
DOUBT = 0.01
CARTOON = "cartoon"


class Likeness:
    """What a picture shows, by a vote of all known pictures, weighted by likeness."""

    def __init__(self, known_ND: Tensor, shows: Sequence[str], near: float) -> None:
        self.names, self.known_ND = sorted(set(shows)), known_ND
        apart = torch.cdist(known_ND, known_ND)
        self.reach = near * apart.median()
        said = torch.tensor([[float(one == name) for name in self.names] for one in shows])
        self.votes_NF = torch.linalg.solve(self._alike(apart) + DOUBT * torch.eye(len(shows)), said)

    def of(self, look_D: Tensor) -> str:
        """The name with most votes."""
        return self.names[int((self._alike(torch.cdist(look_D[None], self.known_ND)) @ self.votes_NF).argmax())]

    def _alike(self, apart: Tensor) -> Tensor:
        return torch.exp(-(apart / self.reach).square())


class SceneJudge:
    """Knows how clips of the renderer look; sees the family and the style of others, in the middle of them."""

    def __init__(self, clips: Sequence[Clip], height: int, width: int) -> None:
        times = torch.tensor([MOMENT])
        frames = [draw([one], times, height, width)[0][0, 0] for one in clips]
        self.families = Likeness(torch.stack([places(frame) for frame in frames]), [one.family for one in clips], NEAR)
        plain = [(one, frame) for one, frame in zip(clips, frames, strict=True) if one.style in ("", CARTOON)]
        looks = torch.stack([tones(frame) for _, frame in plain])
        self.cartoons = Likeness(looks, [one.style for one, _ in plain], NEAR_IN_TONES)

    def family(self, video_TCHW: Tensor) -> str:
        """The family that a clip looks like."""
        return self.families.of(places(middle(video_TCHW)))

    def style(self, video_TCHW: Tensor) -> str | None:
        """cinematic, noir, sketch, cartoon, or None if it looks plain."""
        return screened(video_TCHW) or self.cartoons.of(tones(middle(video_TCHW))) or None


def middle(video_TCHW: Tensor) -> Tensor:
    """The frame in the middle."""
    return video_TCHW[len(video_TCHW) // 2]


def places(frame_CHW: Tensor) -> Tensor:
    """A frame as a row of numbers: colours and edges of a few tiles, as bright as eyes see them."""
    frame = frame_CHW[None].clamp(0, 1)
    colours = functional.interpolate(frame, TILES, mode="area").sqrt()
    small = functional.interpolate(frame, tuple(8 * side for side in TILES), mode="area").sqrt()
    edges = torch.stack([slope.abs() for slope in slopes(grey(small))], 1)
    return torch.cat([colours.flatten(), 8 * functional.avg_pool2d(edges, 8).flatten()])


def tones(frame_CHW: Tensor) -> Tensor:
    """A frame as a row of numbers: how often each brightness, saturation, edge and tint is, and a little of where."""
    small = shrunk(frame_CHW[None].clamp(0, 1), 72)
    light = grey(small)
    across, down = slopes(light)
    counted = [
        often(light.sqrt(), 16),
        often(chroma(small) / (small.amax(1) + 0.05), 10),
        often((4 * torch.hypot(across, down).clamp(max=0.25)).sqrt(), 8),
        often((small[:, 0] - small[:, 2]).clamp(-0.5, 0.5) + 0.5, 10),
    ]
    where = 0.3 * functional.interpolate(small, (5, 9), mode="area").flatten()
    return torch.cat([*(each.sqrt() for each in counted), where])


def often(values: Tensor, bins: int) -> Tensor:
    """A histogram of numbers from 0 to 1 with soft edges."""
    apart = (values.flatten()[:, None] - torch.linspace(0, 1, bins)).abs()
    return (1 - apart * (bins - 1)).clamp(min=0).mean(0)
