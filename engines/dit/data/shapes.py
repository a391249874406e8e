"""Scene: one coloured shape that moves over a plain ground or before a plain background."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import math
from random import Random

import torch
from torch import Tensor

from engines.dit.data.canvas import (
    Canvas,
    Params,
    Values,
    bell,
    cut,
    paint,
    some,
)
from engines.dit.data.outlines import FEET, outline
from engines.dit.data.scene import Pair, Scene
from engines.dit.data.words import COLOURS, article, hue, say

SHAPES = ("ball", "square", "triangle", "star", "ring", "diamond", "heart")
OFTEN = (6, 3, 3, 2, 2, 2, 2)
MOTIONS = (
    "left",
    "right",
    "up",
    "down",
    "bounce",
    "up left",
    "up right",
    "down left",
    "down right",
    "circle",
    "grow",
    "shrink",
)
LIKELY = (4, 4, 4, 4, 4, 1, 1, 1, 1, 3, 2, 2)
NEW_SHAPES, NEW_MOTIONS = SHAPES[3:], MOTIONS[5:]
UPRIGHT = ("left", "right", "bounce")  # motions that go with a ground
VERBS: dict[str, tuple[str, ...]] = {
    "left": ("{} left", "{} to the left", "{} from right to left", "{} leftwards"),
    "right": ("{} right", "{} to the right", "{} from left to right", "{} rightwards"),
    "up": ("moves up", "rises", "floats upwards", "flies up", "goes up", "rising", "moving up"),
    "down": ("moves down", "sinks", "falls down", "drops", "goes down", "falling", "moving down"),
    "bounce": ("bounces", "bounces up and down", "hops", "jumps up and down", "bouncing", "jumping"),
    "up left": ("{} diagonally up and left", "{} to the upper left", "{} up to the left"),
    "up right": ("{} diagonally up and right", "{} to the upper right", "{} up to the right"),
    "down left": ("{} diagonally down and left", "{} to the lower left", "{} down to the left"),
    "down right": ("{} diagonally down and right", "{} to the lower right", "{} down to the right"),
    "circle": ("moves in a circle", "circling", "circles around", "goes round in circles", "flies in a circle"),
    "grow": ("grows", "gets bigger", "growing larger", "expands", "becomes bigger", "growing"),
    "shrink": ("shrinks", "gets smaller", "shrinking", "becomes smaller", "growing smaller"),
}
ROLLS = ("rolls", "rolls", "rolling", "moves", "moving", "slides", "travels", "goes")
SLIDES = ("slides", "sliding", "moves", "moving", "glides", "travels", "goes")
PLAIN = (0.80, 0.87, 0.93)


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    shape, motion = rng.choices(SHAPES, OFTEN)[0], rng.choices(MOTIONS, LIKELY)[0]
    colour, other = rng.sample(list(COLOURS), 2)
    setting = rng.choice(("none", "ground", "background") if motion in UPRIGHT else ("none", "background"))
    values: Values = {
        "kind": float(SHAPES.index(shape)),
        "across": float(("right" in motion) - ("left" in motion)),
        "down": float(("down" in motion) - ("up" in motion)),
        **{name: float(motion == name) for name in ("bounce", "circle", "grow", "shrink")},
        "motion": float(MOTIONS.index(motion)),
        "size": rng.uniform(0.15, 0.21),
        "foot": FEET[SHAPES.index(shape)],
        "speed": rng.uniform(0.24, 0.32),
        "offset": rng.uniform(-0.12, 0.12),
        "colour": COLOURS[colour],
        "has_ground": float(setting == "ground" or (setting == "none" and motion in UPRIGHT)),
        "ground": COLOURS[other] if setting == "ground" else (0.55, 0.60, 0.56),
        "background": COLOURS[other] if setting == "background" else PLAIN,
    }
    if setting == "none" and colour == "white":
        values["background"] = (0.45, 0.62, 0.80)
    sentence, pairs = caption(rng, shape, motion, colour=colour, other=other, setting=setting)
    facts = {"object": colour, "shape": shape, "motion": motion, **({setting: other} if setting != "none" else {})}
    return Scene(values, sentence, facts, pairs)


def caption(
    rng: Random, shape: str, motion: str, *, colour: str, other: str, setting: str
) -> tuple[str, tuple[Pair, ...]]:
    """The sentence for a clip, and its combinations with something new."""
    tint, pairs = hue(rng, colour, shape)
    if shape in NEW_SHAPES:
        pairs += (("shape", shape, colour),)
    elif motion in NEW_MOTIONS:
        pairs += (("motion", motion, shape),)
    subject = article(f"{tint} {say(rng, shape)}")
    verb = rng.choice(VERBS[motion]).format(rng.choice(ROLLS if shape in ("ball", "ring") else SLIDES))
    if setting == "none":
        return f"{subject} {verb}", pairs
    tint, more = hue(rng, other, setting)
    where = {
        "ground": (
            f" over {tint} ground",
            f" on {article(tint)} floor",
            f" across {tint} ground",
            f" on {tint} ground",
        ),
        "background": (f" on {article(tint)} background", f", {tint} background", f" in front of {article(tint)} wall"),
    }[setting]
    return f"{subject} {verb}{rng.choice(where)}", pairs + more


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of the shape [B,T,H,W]."""
    horizon = 0.22 * canvas.half_v
    image = backdrop(canvas, p, horizon)
    floor = horizon + 0.3 * (canvas.half_v - horizon)
    size = size_of(canvas, p)
    x, y = path(canvas, p, floor)
    if some(p["has_ground"]):
        part, rows, columns = canvas.lens(top=floor - 0.12, bottom=floor + 0.14)
        near = ((part.u - x) / (size * 1.1)).square() + ((part.v - floor - 0.01) / 0.035).square()
        dark = paint(cut(image, rows, columns), 0.35 * p["has_ground"] * bell(near), torch.zeros(1, 1, 3, 1, 1))
        image = canvas.inset(image, dark, rows, columns)
    reach = 1.3 * size + 0.02
    part, rows, columns = canvas.lens(x - reach, x + reach, y - reach, y + reach)
    mask = part.cover(outline(p["kind"], part.u - x, part.v - y, size))
    body = paint(cut(image, rows, columns), mask, shade(part, p, x, y, size))
    return canvas.inset(image, body, rows, columns), canvas.outset(mask, rows, columns)


def backdrop(canvas: Canvas, p: Params, horizon: float) -> Tensor:
    """A wall with a soft light, or a sky over a ground."""
    light = 1.06 - 0.16 * (canvas.v / canvas.half_v * 0.5 + 0.5)
    wall = p["background"] * light.unsqueeze(2)
    down = ((canvas.v - horizon) / (canvas.half_v - horizon)).clamp(0, 1)
    ground = p["ground"] * (0.82 + 0.22 * down).unsqueeze(2)
    return paint(wall, canvas.cover(horizon - canvas.v) * p["has_ground"], ground)


def size_of(canvas: Canvas, p: Params) -> Tensor:
    """Half the height of the shape; one that grows or shrinks breathes when it has done so."""
    late = 1 - torch.exp(-canvas.t / 3)
    change = p["grow"] * (1.1 * late - 0.45) + p["shrink"] * (0.5 - 1.1 * late)
    breath = 0.06 * torch.sin(2.4 * canvas.t) * late * (p["grow"] + p["shrink"])
    return p["size"] * (1 + change + breath)


def path(canvas: Canvas, p: Params, floor: float) -> tuple[Tensor, Tensor]:
    """Centre of the shape over time, [B,T,1,1] each. What leaves on one side comes back on the other."""
    reach_u, reach_v = canvas.half_u + p["size"] * 1.2, canvas.half_v + p["size"] * 1.2
    still_u, still_v = 1 - p["across"].abs(), 1 - p["down"].abs()
    x = p["across"] * (p["speed"] * canvas.half_u * canvas.t - 0.62 * canvas.half_u) + still_u * p["offset"] * 2
    y = p["down"] * (p["speed"] * canvas.half_v * canvas.t - 0.66 * canvas.half_v)
    x = torch.remainder(x + reach_u, 2 * reach_u) - reach_u
    y = torch.remainder(y + reach_v, 2 * reach_v) - reach_v
    standing = floor - p["size"] * p["foot"]
    y = torch.where(p["has_ground"] > 0, standing, y + still_v * p["offset"] * 0.6)
    low = torch.where(p["has_ground"] > 0, standing, 0.8 * canvas.half_v - p["size"])
    hop = torch.sin(canvas.t * math.pi * 0.45 + p["offset"] * 6).abs() * canvas.half_v * 0.6
    y = torch.where(p["bounce"] > 0, low - hop, y)
    angle = 6 * p["speed"] * canvas.t + p["offset"] * 20
    swing_u, swing_v = 0.25 * torch.cos(angle), 0.25 * torch.sin(angle)
    return x + p["circle"] * swing_u, y + p["circle"] * swing_v


def shade(canvas: Canvas, p: Params, x: Tensor, y: Tensor, size: Tensor) -> Tensor:
    """A lit surface: bright at the upper left, darker at the lower right."""
    lit = ((canvas.u - x + 0.35 * size).square() + (canvas.v - y + 0.4 * size).square()) / size.square()
    round_ = torch.where(p["kind"] == 0, 1.0, 0.35)
    spot = bell(lit * 5) * 0.55 * round_
    body = p["colour"] * (1.08 - 0.24 * lit.clamp(0, 2.2) * round_).unsqueeze(2)
    return paint(body, spot, torch.ones(1, 1, 3, 1, 1))
