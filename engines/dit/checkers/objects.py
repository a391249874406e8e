"""Judges of a lone object before a plain background: its colour, its shape and how it moves."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.checkers.colours import vote
from engines.dit.checkers.frames import shrunk
from engines.dit.data.outlines import outline
from engines.dit.data.shapes import SHAPES

DIFFERENT = 0.08  # a pixel this far from the background belongs to the object
CONTRAST = 0.4  # and this far, by what is farthest
DIMMED, SAME_HUE = 0.6, 0.1  # a shadow: no darker than this, and all colours alike
STILL = 0.16  # half frames: a smaller way is standing still
JUMP = 0.5  # half frames in one step: it went out and came back on the other side
UPRIGHT = 0.2  # a way this narrow goes up and down
STRAIGHT = 0.7  # net way by whole way; less has turned back
ROUND = 1.2  # radians
GROWN = 0.2  # logarithm of the area
DIAGONAL = 0.41  # tangent of half of a right angle's half
MANY = 6  # pixels: fewer are no object
SHORT = 72
CROP = 32  # side of the picture in which shapes are compared
LOOKS = 12  # frames in which the shape is looked at


def object_mask(video_TCHW: Tensor) -> Tensor:
    """Pixels unlike what is usual in their row and column, and no mere shadow: [T,H,W] of 0 and 1."""
    video_TCHW = video_TCHW.contiguous()  # torch 2.13 returns garbage for the median of an expanded tensor
    rest = video_TCHW - video_TCHW.median(0).values.median(-1, keepdim=True).values
    rest = rest - rest.median(0).values.median(-2, keepdim=True).values
    unlike = rest.abs().amax(1)
    shade = video_TCHW / (video_TCHW - rest).clamp(min=0.02)
    shadow = (shade.amin(1) > DIMMED) & (shade.amax(1) < 1) & (shade.amax(1) - shade.amin(1) < SAME_HUE)
    least = max(DIFFERENT, CONTRAST * unlike.flatten()[::7].quantile(0.995).item())
    return ((unlike > least) & ~shadow).float()


def object_colour(video_TCHW: Tensor) -> str | None:
    """Colour of the object, by vote of its pixels; None if there is no object."""
    small_TCHW = shrunk(video_TCHW, SHORT)
    pixels = small_TCHW.permute(0, 2, 3, 1)[object_mask(small_TCHW) > 0]
    return None if len(pixels) < MANY * len(small_TCHW) else vote(pixels)


def motion(video_TCHW: Tensor) -> str | None:
    """left, up right, ..., bounce, circle, grow or shrink, from the object's track; None if it stands still."""
    mask_THW = object_mask(shrunk(video_TCHW, SHORT))
    size_T = mask_THW.sum((1, 2))
    seen = size_T > max(MANY, 0.3 * size_T.median().item())
    if seen.sum() < max(4, len(mask_THW) // 3):
        return None
    steps_N2 = steps_of(mask_THW[seen])
    path_N2 = steps_N2.cumsum(0)
    reach_u, reach_v = (path_N2.amax(0) - path_N2.amin(0)).tolist()
    if max(reach_u, reach_v) < STILL:
        return growth(size_T[seen])
    if reach_u < UPRIGHT * reach_v and steps_N2.sum(0)[1].abs() < STRAIGHT * steps_N2.abs().sum(0)[1]:
        return "bounce"
    if min(reach_u, reach_v) > UPRIGHT * max(reach_u, reach_v) and abs(turning(steps_N2)) > ROUND:
        return "circle"
    return direction(*steps_N2.sum(0).tolist())


def steps_of(mask_THW: Tensor) -> Tensor:
    """The way of the object's centre from frame to frame, in halves of the frame, without jumps: [N,2]."""
    size_T = mask_THW.sum((1, 2))
    y = (mask_THW.sum(2) * torch.linspace(-1, 1, mask_THW.shape[1])).sum(1) / size_T
    x = (mask_THW.sum(1) * torch.linspace(-1, 1, mask_THW.shape[2])).sum(1) / size_T
    place_N2 = torch.stack([x, y], 1)
    place_N2 = place_N2[:: max(1, len(place_N2) // 16)]
    steps_N2 = place_N2[1:] - place_N2[:-1]
    return steps_N2[steps_N2.norm(dim=1) < JUMP]


def turning(steps_N2: Tensor) -> float:
    """How far the way turns in all, in radians."""
    moving_N2 = steps_N2[steps_N2.norm(dim=1) > 0.3 * steps_N2.norm(dim=1).median()]
    before, after = moving_N2[:-1], moving_N2[1:]
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return torch.atan2(cross, (before * after).sum(1)).sum().item()


def growth(size_T: Tensor) -> str | None:
    """Grow or shrink, if the object does."""
    fifth = max(1, len(size_T) // 5)
    change = (size_T[-fifth:].mean() / size_T[:fifth].mean()).log().item()
    return None if abs(change) < GROWN else ("grow" if change > 0 else "shrink")


def direction(across: float, down: float) -> str:
    """One of eight: "up", "up right", ..."""
    upright, sideways = abs(across) < DIAGONAL * abs(down), abs(down) < DIAGONAL * abs(across)
    words = ["" if sideways else ("down" if down > 0 else "up"), "" if upright else ("right" if across > 0 else "left")]
    return " ".join(word for word in words if word)


def shape(video_TCHW: Tensor) -> str | None:
    """The outline that the object covers best and spills least; None if there is no object."""
    crops = crops_of(object_mask(shrunk(video_TCHW, 2 * SHORT)))
    if not len(crops):
        return None
    names, outlines = zip(*OUTLINES.items(), strict=True)
    known = torch.stack(outlines)
    shared = torch.minimum(crops[:, None], known).sum((2, 3))
    either = torch.maximum(crops[:, None], known).sum((2, 3))
    return names[int((shared / either).mean(0).argmax())]


def crops_of(mask_THW: Tensor) -> Tensor:
    """The object cut out in a square of CROP, in the frames that show the most of it: [N,CROP,CROP]."""
    crops = []
    whole = mask_THW.clone()
    whole[:, 1:-1, 1:-1] = 0
    cut_off, size = whole.sum((1, 2)).tolist(), mask_THW.sum((1, 2)).tolist()
    for index in sorted(range(len(size)), key=lambda index: (cut_off[index], -size[index]))[:LOOKS]:
        rows, columns = mask_THW[index].sum(1).nonzero(), mask_THW[index].sum(0).nonzero()
        if len(rows) < 4 or len(columns) < 4:
            continue
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        cut = mask_THW[index, top:bottom, left:right]
        side = max(cut.shape)
        tall, wide = round(CROP * cut.shape[0] / side), round(CROP * cut.shape[1] / side)
        scaled = functional.interpolate(cut[None, None], (tall, wide), mode="area")[0, 0]
        above, before = (CROP - tall) // 2, (CROP - wide) // 2
        crops.append(functional.pad(scaled, (before, CROP - wide - before, above, CROP - tall - above)))
    return torch.stack(crops) if crops else torch.zeros(0, CROP, CROP)


def _outlines() -> dict[str, Tensor]:
    """What each shape of the renderer covers of the square around it: CROP x CROP of 0 and 1."""
    place = torch.linspace(-2, 2, 4 * CROP)
    u, v = place.view(1, 1, 1, -1), place.view(1, 1, -1, 1)
    one = torch.ones(1, 1, 1, 1)
    return {name: crops_of((outline(number * one, u, v, one) <= 0).float()[0])[0] for number, name in enumerate(SHAPES)}


OUTLINES = _outlines()
