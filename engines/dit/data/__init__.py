"""The world that the model knows: procedural clips with captions. Same seed, same clip, at any size.

`clip` words a clip and `draw` renders it. A clip is a function of its integer seed alone: the seed picks the scene
family, its parameters, style, camera, tempo and caption. Seeds below HELD_OUT are for validation, training draws from
HELD_OUT upwards and never gets a combination that `scene.is_held_out`; `held_out_clip` gives nothing else.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import log
from random import Random
from types import ModuleType

import torch
from torch import Tensor

from engines.dit.data import campfire, city, director, forest, lake, mountains, sea, shapes, space, styles, weather
from engines.dit.data.canvas import Canvas, Values, stack
from engines.dit.data.director import FASTEST, STILL, STYLES, Camera
from engines.dit.data.scene import Pair, is_held_out
from engines.dit.data.words import frame

__all__ = [
    "FAMILIES", "HELD_OUT", "STYLES", "Camera", "Canvas", "Clip", "clip", "draw", "draw_on", "held_out_clip", "seconds",
]  # fmt: skip

FAMILIES: dict[str, ModuleType] = {
    "shapes": shapes,
    "sea": sea,
    "lake": lake,
    "city": city,
    "space": space,
    "weather": weather,
    "campfire": campfire,
    "mountains": mountains,
    "forest": forest,
}
WEIGHTS = {
    "shapes": 16,
    "sea": 3,
    "lake": 4,
    "city": 3,
    "space": 6,
    "weather": 2,
    "campfire": 1,
    "mountains": 3,
    "forest": 3,
}  # lone objects are hardest
HELD_OUT = 1_000_000
PIXELS = {"cpu": 320_000}  # of all frames drawn at once: what stays in a core's cache
MANY_PIXELS = 40_000_000  # the same on an accelerator


@dataclass(frozen=True, slots=True)
class Clip:
    """What a seed stands for."""

    family: str
    values: Values
    caption: str
    style: str = ""  # of STYLES; "" is none
    pace: float = 1.0  # scene seconds per clip second, 1/3 to 3
    camera: Camera = STILL
    facts: Mapping[str, str] = field(default_factory=dict)  # what the caption says and a judge can see
    pairs: tuple[Pair, ...] = ()  # its combinations with something in it that came later

    @property
    def unseen(self) -> tuple[Pair, ...]:
        """Those of its combinations that are held out from training."""
        return tuple(pair for pair in self.pairs if is_held_out(pair))

    @property
    def motion(self) -> float:
        """Motion intensity, 0 to 1; 0.5 is pace 1."""
        return 0.5 + 0.5 * log(self.pace) / log(FASTEST)


def clip(seed: int, family: str | None = None) -> Clip:
    """The clip of a seed; `family` forces the scene. From HELD_OUT upwards no combination is a held-out one."""
    rng = Random(seed)
    while True:
        one = imagine(rng, family)
        if seed < HELD_OUT or not one.unseen:
            return one


def held_out_clip(seed: int, kind: str | None = None) -> Clip:
    """A clip with a held-out combination (of a kind of `scene.ONE_IN`, if given)."""
    rng = Random(f"held out {seed}")
    while True:
        one = imagine(rng, None)
        if one.unseen and (kind is None or any(pair[0] == kind for pair in one.unseen)):
            return one


def imagine(rng: Random, family: str | None) -> Clip:
    """Draw a scene, what the director makes of it, and the caption."""
    drawn = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    family = family or drawn
    scene = FAMILIES[family].sample(rng)
    what = director.direct(rng, may_move=family != "shapes")  # nobody sees a camera pan along a plain wall
    sentence, facts = director.tell(rng, scene.sentence, scene.facts, what)
    pairs = scene.pairs + ((("style", what.style, family),) if what.style else ())
    pairs += (("camera", what.move, family),) if what.move else ()
    values = {**scene.values, "pace": what.pace, "pan_u": what.camera.pan_u, "pan_v": what.camera.pan_v}
    values["zoom"] = what.camera.zoom
    facts = {"family": family, **facts}
    return Clip(family, values, frame(rng, sentence), what.style, what.pace, what.camera, facts, pairs)


def seconds(frames: int, fps: float, start: float = 0.0) -> Tensor:
    """When each of `frames` frames is shown, in seconds: times_T."""
    return torch.arange(frames, dtype=torch.float32) / fps + start


def draw(
    clips: Sequence[Clip], times_T: Tensor, height: int, width: int, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Render clips -> video_BTCHW in [0, 1] and mask_BTHW in [0, 1] (1 = the object that matters)."""
    return draw_on(Canvas.at(times_T, height, width, device), clips)


def draw_on(canvas: Canvas, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """The same on a given board, which may be a crop."""
    frames, height, width = canvas.t.shape[1], canvas.v.shape[2], canvas.u.shape[3]
    device = canvas.t.device
    video_BTCHW = torch.empty(len(clips), frames, 3, height, width, device=device)
    mask_BTHW = torch.empty(len(clips), frames, height, width, device=device)
    with nullcontext() if device.type == "cpu" else device:
        for rows in groups(clips, alone=device.type == "cpu"):
            chosen = [clips[row] for row in rows]
            step = max(1, PIXELS.get(device.type, MANY_PIXELS) // (height * width * len(rows)))
            for first in range(0, frames, step):
                picture, mask = shoot(canvas.moments(first, step), chosen)
                video_BTCHW[rows, first : first + step] = picture
                mask_BTHW[rows, first : first + step] = mask
    return video_BTCHW, mask_BTHW


def groups(clips: Sequence[Clip], *, alone: bool) -> Iterator[list[int]]:
    """Rows to draw together: each alone on a processor, else all of a family, style and stillness."""
    if alone:
        yield from ([row] for row in range(len(clips)))
        return
    together: dict[tuple[str, str, bool], list[int]] = {}
    for row, one in enumerate(clips):
        together.setdefault((one.family, one.style, one.camera == STILL), []).append(row)
    yield from together.values()


def shoot(canvas: Canvas, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Some frames of clips of one family, style and stillness: picture [B,T,C,H,W], mask [B,T,H,W]."""
    params = stack([one.values for one in clips], canvas.t.device)
    board = canvas.paced(params) if clips[0].camera == STILL else canvas.filmed(params)
    picture, mask = FAMILIES[clips[0].family].render(board, params)
    shape = len(clips), canvas.t.shape[1], *picture.shape[-2:]
    picture = picture.clamp(0, 1)
    if clips[0].style:
        picture = styles.FILTERS[clips[0].style](board, picture).clamp(0, 1)
    return picture.expand(shape[0], shape[1], 3, *shape[2:]), mask.expand(shape)
