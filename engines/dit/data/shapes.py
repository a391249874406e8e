"""Scene: one coloured shape that moves over a plain ground or before a plain background."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import math
from random import Random

import torch
from torch import Tensor

from engines.dit.data.canvas import Canvas, Params, Values, paint
from engines.dit.data.scene import Scene
from engines.dit.data.words import COLOURS, article, say

SHAPES = ("ball", "ball", "ball", "square", "triangle")
MOTIONS = ("left", "right", "up", "down", "bounce")
VERBS = {
    "left": ("{} left", "{} to the left", "{} from right to left", "{} leftwards"),
    "right": ("{} right", "{} to the right", "{} from left to right", "{} rightwards"),
    "up": ("moves up", "rises", "floats upwards", "flies up", "goes up", "rising", "moving up"),
    "down": ("moves down", "sinks", "falls down", "drops", "goes down", "falling", "moving down"),
    "bounce": ("bounces", "bounces up and down", "hops", "jumps up and down", "bouncing", "jumping"),
}
ROLLS = ("rolls", "rolls", "rolling", "moves", "moving", "slides", "travels", "goes")
SLIDES = ("slides", "sliding", "moves", "moving", "glides", "travels", "goes")
PLAIN = (0.80, 0.87, 0.93)


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    shape, motion = rng.choice(SHAPES), rng.choice(MOTIONS)
    colour, other = rng.sample(list(COLOURS), 2)
    setting = (
        rng.choice(("none", "ground", "background"))
        if motion not in ("up", "down")
        else rng.choice(("none", "background"))
    )
    values: Values = {
        "kind": float(("ball", "square", "triangle").index(shape)),
        "motion": float(MOTIONS.index(motion)),
        "size": rng.uniform(0.15, 0.21),
        "speed": rng.uniform(0.24, 0.32),
        "offset": rng.uniform(-0.12, 0.12),
        "colour": COLOURS[colour],
        "has_ground": float(setting == "ground" or (setting == "none" and motion not in ("up", "down"))),
        "ground": COLOURS[other] if setting == "ground" else (0.55, 0.60, 0.56),
        "background": COLOURS[other] if setting == "background" else PLAIN,
    }
    if setting == "none" and colour == "white":
        values["background"] = (0.45, 0.62, 0.80)
    facts = {"object": colour, "shape": shape, "motion": motion, **({setting: other} if setting != "none" else {})}
    return Scene(values, caption(rng, shape, motion, colour=colour, other=other, setting=setting), facts)


def caption(rng: Random, shape: str, motion: str, *, colour: str, other: str, setting: str) -> str:
    """The sentence for a clip."""
    subject = article(f"{say(rng, colour)} {say(rng, shape)}")
    verb = rng.choice(VERBS[motion]).format(rng.choice(ROLLS if shape == "ball" else SLIDES))
    where = {
        "none": "",
        "ground": rng.choice((" over {} ground", " on a {} floor", " across {} ground", " on {} ground")),
        "background": rng.choice((" on a {} background", ", {} background", " in front of a {} wall")),
    }[setting].format(say(rng, other))
    return f"{subject} {verb}{where}"


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of the shape [B,T,H,W]."""
    horizon = 0.22 * canvas.half_v
    image = backdrop(canvas, p, horizon)
    x, y = path(canvas, p, horizon)
    grounded = p["has_ground"]
    near = ((canvas.u - x) / (p["size"] * 1.1)).square() + (
        (canvas.v - floor_of(canvas, p, horizon) - 0.01) / 0.035
    ).square()
    image = paint(image, 0.35 * grounded * torch.exp(-near), torch.zeros(1, 1, 3, 1, 1))
    distance = outline(canvas, p, x, y)
    mask = canvas.cover(distance)
    image = paint(image, mask, shade(canvas, p, x, y))
    return image, mask


def backdrop(canvas: Canvas, p: Params, horizon: float) -> Tensor:
    """A wall with a soft light, or a sky over a ground."""
    light = 1.06 - 0.16 * (canvas.v / canvas.half_v * 0.5 + 0.5)
    wall = p["background"] * light.unsqueeze(2)
    down = ((canvas.v - horizon) / (canvas.half_v - horizon)).clamp(0, 1)
    ground = p["ground"] * (0.82 + 0.22 * down).unsqueeze(2)
    return paint(wall, canvas.cover(horizon - canvas.v) * p["has_ground"], ground)


def floor_of(canvas: Canvas, p: Params, horizon: float) -> Tensor:
    """Where a shape that stands on the ground touches it."""
    return horizon + 0.3 * (canvas.half_v - horizon) + 0 * p["size"]


def path(canvas: Canvas, p: Params, horizon: float) -> tuple[Tensor, Tensor]:
    """Centre of the shape over time, [B,T,1,1] each."""
    motion, size = p["motion"], p["size"]
    sign = (motion == 1).float() - (motion == 0).float()
    rise = (motion == 3).float() - (motion == 2).float()
    reach_u, reach_v = canvas.half_u + size, canvas.half_v + size
    speed_u, speed_v = p["speed"] * canvas.half_u, p["speed"] * canvas.half_v
    x = sign * (speed_u * canvas.t - 0.62 * canvas.half_u) + (1 - sign.abs()) * p["offset"] * 2
    y_free = rise * (speed_v * canvas.t - 0.66 * canvas.half_v)
    x = torch.remainder(x + reach_u, 2 * reach_u) - reach_u
    y_free = torch.remainder(y_free + reach_v, 2 * reach_v) - reach_v
    stand = p["has_ground"] * (floor_of(canvas, p, horizon) - size) + (1 - p["has_ground"]) * p["offset"] * 0.6
    hop = (torch.sin(canvas.t * math.pi * 0.45 + p["offset"] * 6).abs()) * canvas.half_v * 0.6
    low = p["has_ground"] * stand + (1 - p["has_ground"]) * (0.8 * canvas.half_v - size)
    y = torch.where(motion == 4, low - hop, torch.where(rise != 0, y_free, stand))
    return x, y


def outline(canvas: Canvas, p: Params, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance from the shape."""
    size, kind = p["size"], p["kind"]
    du, dv = canvas.u - x, canvas.v - y
    ball = (du.square() + dv.square()).sqrt() - size
    square = torch.maximum(du.abs(), dv.abs()) - size * 0.88
    triangle = torch.maximum(du.abs() * 0.9 - dv * 0.45 - size * 0.45, dv - size * 0.85)
    return torch.where(kind == 0, ball, torch.where(kind == 1, square, triangle))


def shade(canvas: Canvas, p: Params, x: Tensor, y: Tensor) -> Tensor:
    """A lit surface: bright at the upper left, darker at the lower right."""
    size = p["size"]
    lit = ((canvas.u - x + 0.35 * size).square() + (canvas.v - y + 0.4 * size).square()) / size.square()
    round_ = torch.where(p["kind"] == 0, 1.0, 0.35)
    spot = torch.exp(-lit * 5) * 0.55 * round_
    body = p["colour"] * (1.08 - 0.24 * lit.clamp(0, 2.2) * round_).unsqueeze(2)
    return paint(body, spot, torch.ones(1, 1, 3, 1, 1))
