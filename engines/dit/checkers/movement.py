"""Judges of movement: what the camera does, how much there is to see of movement at all, and where shots change.

Ways are in short sides of the picture over the whole clip (growth: logarithm of the scale), so they do not depend on
the size or on the rate of a clip. Legend: T frames, P pairs of frames, C colours in [0, 1], H W pixels.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.camera import centred
from engines.dit.checkers.frames import grey, shrunk, slopes

SMALL, LARGE = 12, 24  # short sides at which the way of the camera is fitted: rain, waves and hatching are gone there
SHORT = 60
PAN, ZOOM = 0.045, 0.045  # with less than this in a clip, the camera stands
FALLING, SLANT = 0.2, 0.22  # a picture that moves down so far is rain or snow, and rain goes left by this part of it
MARGIN = 0.13  # at the top and at the bottom: the bars of a film stand still
CUT, SUDDEN = 0.035, 3.5  # a change of shot: of the whole range, and of the changes around it


@dataclass(frozen=True, slots=True)
class Sway:
    """How the whole picture's content moves: + is to the right, downwards, and towards the viewer."""

    across: float
    down: float
    nearer: float


def camera(video_TCHW: Tensor) -> str | None:
    """Pan left, pan right, zoom in or zoom out; None if the camera stands."""
    way = sway(video_TCHW)
    slant = SLANT * way.down if abs(way.down) > FALLING else 0.0
    pan, zoom = -(way.across + slant) / PAN, way.nearer / ZOOM
    if max(abs(pan), abs(zoom)) < 1:
        return None
    if abs(pan) > abs(zoom):
        return "pan right" if pan > 0 else "pan left"
    return "zoom in" if zoom > 0 else "zoom out"


def sway(video_TCHW: Tensor) -> Sway:
    """The shift and the growth that explain most of the picture: the median over all pairs of frames, times pairs."""
    margin = round(min(video_TCHW.shape[-2:]) * MARGIN)
    inner_TCHW = video_TCHW[:, :, margin:-margin]
    grey_THW = grey(shrunk(inner_TCHW, LARGE))
    fit_P3 = torch.zeros(len(grey_THW) - 1, 3)
    for short in (SMALL, LARGE):
        small_THW = shrunk(grey_THW[:, None], short)[:, 0]
        fit_P3 = fitted(small_THW, fit_P3)
    across, down, nearer = (fit_P3.median(0).values * len(fit_P3)).tolist()
    part = min(inner_TCHW.shape[-2:]) / min(video_TCHW.shape[-2:])
    return Sway(across * part, down * part, nearer)


def fitted(grey_THW: Tensor, fit_P3: Tensor) -> Tensor:
    """Gauss-Newton on brightness, blind to the pixels that a moving object spoils: shift and growth [P,3]."""
    before, after = grey_THW[:-1], grey_THW[1:]
    height, width = before.shape[-2:]
    short = min(height, width)
    v, u = torch.meshgrid(centred(height, short), centred(width, short), indexing="ij")
    across, down = (each * short for each in slopes((before + after) / 2))
    ways = torch.stack([across, down, across * u + down * v], -1).flatten(1, 2)  # [P,HW,3]
    for _ in range(4):
        shift_u = fit_P3[:, 0, None, None] + fit_P3[:, 2, None, None] * u
        shift_v = fit_P3[:, 1, None, None] + fit_P3[:, 2, None, None] * v
        grid = torch.stack([(u + shift_u) * 2 * short / width, (v + shift_v) * 2 * short / height], -1)
        moved = functional.grid_sample(after[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
        error = (moved - before).flatten(1)
        usual = error.abs().mean(1, keepdim=True) + 1e-3
        trust = (1 / (1 + (error / usual).square()))[..., None] * ways
        pull = (trust * error[..., None]).sum(1)
        normal = trust.transpose(1, 2) @ ways + 1e-3 * torch.eye(3)
        fit_P3 = fit_P3 - torch.linalg.solve(normal, pull)
    return fit_P3


def amount(video_TCHW: Tensor) -> float:
    """How far what is in the picture moves: change from frame to frame by slope in space, in short sides.

    That is the mean way across edges, weighted by how strong they are. It grows with speed also where things wave or
    twinkle, and where they are smaller than their steps.
    """
    grey_THW = functional.avg_pool2d(grey(shrunk(video_TCHW, SHORT))[:, None], 3, 1)[:, 0]
    across, down = slopes(grey_THW[:-1])
    slope = (across.square() + down.square()).sqrt().sum()
    short = min(grey_THW.shape[-2:]) + 2
    return ((grey_THW[1:] - grey_THW[:-1]).abs().sum() / (slope + 1e-6)).item() / short * len(grey_THW[1:])


def cuts(video_TCHW: Tensor) -> list[int]:
    """The numbers of the frames that begin a new shot."""
    small = shrunk(video_TCHW, 18)
    change = (small[1:] - small[:-1]).abs().mean((1, 2, 3))
    found = []
    for index, value in enumerate(change.tolist()):
        around = torch.cat([change[max(0, index - 6) : index], change[index + 1 : index + 7]])
        if value > CUT and value > SUDDEN * around.median().item():
            found.append(index + 1)
    return found
