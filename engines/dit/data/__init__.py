"""The world that the model knows: procedural clips with captions. Same seed, same clip, at any size.

`draw` renders clips, `caption` words them. A clip is a function of its integer seed alone: the seed picks the scene
family, its parameters and its caption. Held-out clips have seeds below HELD_OUT; training draws only from above it.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from types import ModuleType

import torch
from torch import Tensor

from engines.dit.data import campfire, city, lake, sea, shapes, space, weather
from engines.dit.data.canvas import Canvas, Values, stack

FAMILIES: dict[str, ModuleType] = {
    "shapes": shapes,
    "sea": sea,
    "lake": lake,
    "city": city,
    "space": space,
    "weather": weather,
    "campfire": campfire,
}
WEIGHTS = {
    "shapes": 9,
    "sea": 3,
    "lake": 4,
    "city": 3,
    "space": 6,
    "weather": 2,
    "campfire": 1,
}  # lone objects are hardest
HELD_OUT = 1_000_000


@dataclass(frozen=True, slots=True)
class Clip:
    """What a seed stands for."""

    family: str
    values: Values
    caption: str


def clip(seed: int, family: str | None = None) -> Clip:
    """The clip of a seed; `family` forces the scene."""
    rng = Random(seed)
    drawn = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    family = family or drawn
    values, caption = FAMILIES[family].sample(rng)
    return Clip(family, values, caption)


def draw(clips: Sequence[Clip], frames: int, height: int, width: int, start: float = 0.0) -> tuple[Tensor, Tensor]:
    """Render clips -> video_BTCHW in [0, 1] and mask_BTHW in [0, 1] (1 = the object that matters)."""
    return draw_on(Canvas.of(frames, height, width, start=start), clips)


def draw_on(canvas: Canvas, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """The same on a given board, which may be a crop."""
    frames, height, width = canvas.t.shape[1], canvas.v.shape[2], canvas.u.shape[3]
    video_BTCHW = torch.empty(len(clips), frames, 3, height, width)
    mask_BTHW = torch.empty(len(clips), frames, height, width)
    for name, module in FAMILIES.items():
        rows = [index for index, one in enumerate(clips) if one.family == name]
        if rows:
            picture, mask = module.render(canvas, stack([clips[row].values for row in rows]))
            video_BTCHW[rows] = picture.clamp(0, 1).expand(len(rows), frames, 3, height, width)
            mask_BTHW[rows] = mask.expand(len(rows), frames, height, width)
    return video_BTCHW, mask_BTHW
