"""Judge of the family of a scene: by likeness to clips of the renderer, as seen very small."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.checkers.frames import grey, slopes
from engines.dit.data import clip, draw

THUMBNAIL = (9, 16)
MOMENT = 2.0  # seconds into the scene
NEAR = 0.6  # how alike counts, by the median distance of two clips
DOUBT = 0.01


class SceneJudge:
    """The scene of a clip, by a vote of all known clips, weighted by likeness (kernel ridge regression)."""

    def __init__(self, seeds: Sequence[int], height: int, width: int) -> None:
        clips = [clip(seed) for seed in seeds]
        self.families = sorted({one.family for one in clips})
        times = torch.tensor([MOMENT])
        self.known_ND = torch.stack([look(draw([one], times, height, width)[0][0]) for one in clips])
        apart = torch.cdist(self.known_ND, self.known_ND)
        self.reach = NEAR * apart.median()
        said = torch.tensor([[float(one.family == name) for name in self.families] for one in clips])
        self.votes_NF = torch.linalg.solve(self._alike(apart) + DOUBT * torch.eye(len(clips)), said)

    def family(self, video_TCHW: Tensor) -> str:
        """The family that a clip looks like, in the middle of it."""
        apart = torch.cdist(look(video_TCHW)[None], self.known_ND)
        return self.families[int((self._alike(apart) @ self.votes_NF).argmax())]

    def _alike(self, apart: Tensor) -> Tensor:
        return torch.exp(-(apart / self.reach).square())


def look(video_TCHW: Tensor) -> Tensor:
    """The middle frame as a row of numbers: colours and edges of a few tiles."""
    frame = video_TCHW[len(video_TCHW) // 2][None]
    colours = functional.interpolate(frame, THUMBNAIL, mode="area")
    small = functional.interpolate(frame, tuple(8 * side for side in THUMBNAIL), mode="area")
    edges = torch.stack([slope.abs() for slope in slopes(grey(small))], 1)
    return torch.cat([colours.flatten(), 4 * functional.avg_pool2d(edges, 8).flatten()])
