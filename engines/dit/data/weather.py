"""Scene: snow or rain that falls over hills or a forest, by day or by night."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from engines.dit.data.canvas import (
    Canvas,
    Colour,
    Params,
    Values,
    bell,
    chance,
    conifer,
    cut,
    gradient,
    hills,
    paint,
    some,
    specks,
)
from engines.dit.data.nature import massif
from engines.dit.data.scene import Scene
from engines.dit.data.words import look

SKIES: dict[tuple[str, str], tuple[Colour, Colour, Colour]] = {
    ("snow", "day"): ((0.62, 0.70, 0.80), (0.74, 0.80, 0.87), (0.86, 0.89, 0.93)),
    ("snow", "night"): ((0.04, 0.06, 0.15), (0.09, 0.13, 0.26), (0.18, 0.24, 0.40)),
    ("rain", "day"): ((0.34, 0.38, 0.43), (0.46, 0.51, 0.55), (0.60, 0.64, 0.66)),
    ("rain", "night"): ((0.02, 0.03, 0.06), (0.05, 0.07, 0.11), (0.10, 0.13, 0.18)),
}
LANDS: dict[tuple[str, str], tuple[Colour, Colour, Colour]] = {  # far hill, near hill, firs
    ("snow", "day"): ((0.80, 0.85, 0.91), (0.95, 0.96, 0.98), (0.17, 0.30, 0.28)),
    ("snow", "night"): ((0.22, 0.28, 0.44), (0.38, 0.45, 0.62), (0.03, 0.07, 0.12)),
    ("rain", "day"): ((0.30, 0.42, 0.36), (0.20, 0.36, 0.22), (0.07, 0.19, 0.13)),
    ("rain", "night"): ((0.06, 0.10, 0.11), (0.04, 0.08, 0.07), (0.01, 0.03, 0.03)),
}
WHEN = {
    "night": (" at night", " by night", " in the dark"),
    "day": ("", "", " by day", " on a grey day"),
}


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    kind, time = rng.choice(("snow", "rain")), rng.choice(("day", "day", "night"))
    forest = rng.random() < 0.55
    top, middle, bottom = SKIES[kind, time]
    far, near, wood = LANDS[kind, time]
    values: Values = {
        "top": top, "middle": middle, "bottom": bottom, "far": far, "near": near, "wood": wood,
        "rain": float(kind == "rain"), "forest": float(forest), "phase": rng.uniform(0, 6.3),
        "seed": float(rng.randrange(4)),
        "ink": (1.0, 1.0, 1.0) if kind == "snow" else (0.76, 0.83, 0.90), "speed": rng.uniform(0.9, 1.1),
    }  # fmt: skip
    when = rng.choice(WHEN[time])
    facts = {"weather": kind, **({"time": time} if when else {})}
    return Scene(values, caption(rng, kind, forest) + when, facts)


def caption(rng: Random, kind: str, forest: bool) -> str:  # noqa: FBT001 - a fact of the clip
    """The sentence for a clip."""
    land = rng.choice(
        ("a forest", "the forest", "a fir forest", "pine trees", "the woods")
        if forest
        else ("hills", "the hills", "the mountains", "rolling hills", "a valley")
    )
    if kind == "snow":
        forms = (
            f"snow falling over {land}",
            f"snow falls on {land}",
            f"snowfall in {land}",
            f"snowflakes drift down over {land}",
            f"a {look(rng)}winter day, snow over {land}",
            f"it is snowing in {land}",
        )
    else:
        forms = (
            f"rain falling over {land}",
            f"rain falls on {land}",
            f"heavy rain over {land}",
            f"a rainy day, {land}",
            f"it is raining over {land}",
            f"a storm with rain over {land}",
        )
    return rng.choice(forms)


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of snowflakes or drops [B,T,H,W]."""
    above = (canvas.v + canvas.half_v) / (1.4 * canvas.half_v)
    image = gradient(above.clamp(0, 1), p["top"], p["middle"], p["bottom"])
    if some(1 - p["forest"]):
        light = 0.2 * p["bottom"] + 0.8 * p["near"]
        peaks = massif(
            canvas, canvas.v, canvas.v, image, foot=0.50 * canvas.half_v, tall=1.25, phase=p["phase"] * 1.3,
            rough=0.5 + 0 * p["phase"], rock=0.55 * p["far"] + 0.1 * p["top"], light=light, snow=0.9 * (1 - p["rain"]),
            haze=0.5 * p["middle"] + 0.5 * p["far"],
        )  # fmt: skip
        image = torch.lerp(image, peaks, 1 - p["forest"].unsqueeze(2))
    far = canvas.half_v * (0.16 + 0.16 * hills(canvas.u * 0.8, p["phase"]))
    image = paint(image, canvas.cover(far - canvas.v), p["far"])
    image = wood_at(canvas, p, image, foot=0.52, height=0.42, step=0.24, wood=0.55 * p["wood"] + 0.45 * p["far"])
    near = canvas.half_v * (0.50 + 0.10 * hills(canvas.u * 0.9 + 3, p["phase"] * 1.6))
    light = (1.05 - 0.25 * (canvas.v - near).clamp(0, 1)).unsqueeze(2)
    image = paint(image, canvas.cover(near - canvas.v), p["near"] * light)
    image = wood_at(canvas, p, image, foot=0.80, height=0.62, step=0.44, wood=p["wood"])
    falling = torch.zeros(1, 1, 1, 1)
    if some(1 - p["rain"]):
        falling = flakes(canvas, p) * (1 - p["rain"])
    if some(p["rain"]):
        falling = torch.maximum(falling, drops(canvas, p) * p["rain"])
    return paint(image, falling, p["ink"]), falling


def wood_at(
    canvas: Canvas, p: Params, image: Tensor, *, foot: float, height: float, step: float, wood: Tensor
) -> Tensor:
    """A row of firs of varied height."""
    if not some(p["forest"]):
        return image
    whole, behind = canvas, image
    canvas, rows, columns = whole.lens(top=foot * whole.half_v - 1.15 * height - 0.02, bottom=foot * whole.half_v + 0.1)
    image = cut(image, rows, columns)
    shift = p["phase"] * 0.1
    index = torch.floor((canvas.u + shift) / step + 0.5)
    luck = chance(index, index * 0 + 5, torch.floor(p["seed"] * 4))
    x = index * step - shift
    ground, tall = foot * canvas.half_v + 0.06 * luck, height * (0.7 + 0.4 * luck)
    lean = 0.03 * torch.sin(1.7 * canvas.t + 5 * luck)
    tree = conifer(canvas.u, canvas.v, x, ground, height=tall, lean=lean)
    image = paint(image, canvas.cover(tree) * p["forest"], wood)
    if not some(1 - p["rain"]):
        return whole.inset(behind, image, rows, columns)
    under = conifer(canvas.u, canvas.v, x - 0.02 * tall, ground + 0.055 * tall, height=tall, lean=lean)
    laden = canvas.cover(torch.maximum(tree, -under)) * p["forest"] * (1 - p["rain"])
    image = paint(image, 0.9 * laden, 0.85 * p["near"] + 0.15 * wood)
    return whole.inset(behind, image, rows, columns)


def flakes(canvas: Canvas, p: Params) -> Tensor:
    """Two layers of snowflakes that drift down."""
    opacity = torch.zeros(1)
    for cell, radius, speed in ((0.17, 0.017, 0.20), (0.115, 0.010, 0.13)):
        u = canvas.u + 0.03 * torch.sin(1.3 * canvas.t + 4 * canvas.v) + 5
        v = canvas.v - p["speed"] * speed * canvas.t + 20
        dots, _ = specks(canvas, u, v, cell=cell, radius=radius, seed=p["seed"] + cell)
        opacity = torch.maximum(opacity, dots)
    return 0.95 * opacity


def drops(canvas: Canvas, p: Params) -> Tensor:
    """Slanted streaks of rain."""
    cell, tall = 0.085, 0.30
    u = canvas.u + 0.22 * canvas.v + 5
    column = torch.floor(u / cell)
    luck = chance(column, column * 0 + 3, p["seed"])
    v = canvas.v - p["speed"] * 0.55 * canvas.t + luck * tall * 5 + 30
    x, y = u / cell - column - 0.5, v / tall - (v / tall).floor()
    streak = bell((x * cell / 0.006).square()) * (1 - ((y - 0.5).abs() / 0.30)).clamp(0, 1).sqrt()
    return 0.62 * streak
