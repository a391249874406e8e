"""Scene: a mountain lake with firs that sway in the wind, by day, at sunset, sunrise or night, with or without mist."""

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
    conifer,
    glow,
    gradient,
    paint,
    some,
    stars,
)
from engines.dit.data.nature import massif, sun
from engines.dit.data.scene import Scene
from engines.dit.data.words import article, look, say

SKIES: dict[str, tuple[Colour, Colour, Colour]] = {
    "sunset": ((0.30, 0.18, 0.46), (0.88, 0.40, 0.36), (1.00, 0.74, 0.38)),
    "sunrise": ((0.50, 0.64, 0.88), (0.94, 0.78, 0.80), (1.00, 0.93, 0.74)),
    "day": ((0.22, 0.50, 0.88), (0.52, 0.75, 0.95), (0.86, 0.93, 0.98)),
    "night": ((0.01, 0.02, 0.08), (0.04, 0.07, 0.18), (0.10, 0.15, 0.30)),
}
ROCKS: dict[str, tuple[Colour, Colour, Colour]] = {  # far range, near range, firs
    "sunset": ((0.50, 0.27, 0.42), (0.26, 0.14, 0.28), (0.07, 0.05, 0.09)),
    "sunrise": ((0.62, 0.64, 0.80), (0.36, 0.44, 0.58), (0.09, 0.20, 0.20)),
    "day": ((0.56, 0.66, 0.80), (0.33, 0.44, 0.50), (0.06, 0.27, 0.14)),
    "night": ((0.09, 0.12, 0.24), (0.04, 0.06, 0.13), (0.01, 0.02, 0.04)),
}
LIGHTS: dict[str, Colour] = {
    "sunset": (1.00, 0.80, 0.42),
    "sunrise": (1.00, 0.95, 0.74),
    "day": (1.00, 0.98, 0.90),
    "night": (0.90, 0.92, 0.88),
}
TIMES = ("sunset", "sunset", "sunrise", "sunrise", "day", "night")


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    time = rng.choice(TIMES)
    trees, mist = rng.random() < 0.65, rng.random() < 0.4
    top, middle, bottom = SKIES[time]
    far, near, wood = ROCKS[time]
    values: Values = {
        "top": top, "middle": middle, "bottom": bottom, "far": far, "near": near, "wood": wood, "light": LIGHTS[time],
        "phase": rng.uniform(0, 6.3), "rough": rng.random(), "x": rng.uniform(-0.35, 0.35),
        "rise": {"sunset": 0.02, "sunrise": -0.02, "day": 0.0, "night": 0.0}[time],
        "height": {"sunset": -0.30, "sunrise": -0.34, "day": -0.80, "night": -0.70}[time],
        "snow": 0.0 if time == "night" else 0.75, "stars": float(time == "night"), "seed": float(rng.randrange(4)),
        "trees": float(trees), "mist": float(mist), "wind": rng.uniform(0.8, 1.2),
    }  # fmt: skip
    return Scene(values, caption(rng, time, trees, mist), {"time": time})


def caption(rng: Random, time: str, trees: bool, mist: bool) -> str:  # noqa: FBT001 - facts of the clip
    """The sentence for a clip."""
    lake, mood = say(rng, "lake"), look(rng, 0.5)
    when = {
        "sunset": "at " + say(rng, "sunset"),
        "sunrise": "at " + say(rng, "sunrise"),
        "day": say(rng, "day"),
        "night": "at night",
    }[time]
    forms = [f"{article(mood + lake)} {when}", f"{article(mood + lake)} {when}"]
    if time in ("sunset", "sunrise"):
        forms += [
            f"{article(mood + say(rng, time))} over a {lake}",
            f"the sun {'sets' if time == 'sunset' else 'rises'} over a {mood}{lake}",
        ]
    if time == "night":
        forms.append(f"{article(mood + lake)} under the stars")
    wind = rng.choice(
        (
            ", with trees swaying in the wind",
            ", trees swaying",
            " with swaying fir trees",
            ", pine trees in the breeze",
            " and trees in the wind",
        )
    )
    fog = rng.choice(
        (
            ", with mist rising from the water",
            ", mist over the water",
            " in the fog",
            ", morning mist",
            ", mist drifting",
            " with rising fog",
        )
    )
    return rng.choice(forms) + (wind if trees else "") + (fog if mist else "")


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of the firs [B,T,H,W]."""
    shore = 0.16 * canvas.half_v
    image = waterside(canvas, p, shore)
    if some(p["mist"]):
        image = paint(image, fog(canvas, p, shore), 0.25 * p["bottom"] + 0.75 * (0.35 * p["bottom"] + 0.62))
    if not some(p["trees"]):
        return image, torch.zeros(1, 1, 1, 1)
    mask = firs(canvas, p)
    return paint(image, mask, p["wood"] * (1 + 0.5 * canvas.v.clamp(-0.4, 0.4)).unsqueeze(2)), mask


def waterside(canvas: Canvas, p: Params, shore: float) -> Tensor:
    """The land above the shore, and its image in the water below: each only where it is seen."""
    above, sky, _ = canvas.lens(bottom=shore + 0.03)
    below, lake, _ = canvas.lens(top=shore - 0.03)
    land = scenery(above, p, above.v, above.v, shore)
    ripple = 0.008 * torch.sin(60 * below.v - 2.2 * below.t) * (1 + below.v - shore)
    mirrored = scenery(below, p, 2 * shore - below.v + ripple, 2 * shore - below.v, shore)
    water = mirrored * 0.72 + 0.10 * p["top"]
    image = water.new_zeros(*water.shape[:3], canvas.v.shape[2], canvas.u.shape[3])
    image[..., lake, :] = water
    image[..., sky, :] = paint(land, above.cover(shore - above.v), image[..., sky, :])
    return image


def scenery(canvas: Canvas, p: Params, v: Tensor, calm: Tensor, shore: float) -> Tensor:
    """Sky, sun and two mountain ranges as seen at the heights `v`; `calm` are those heights without ripples."""
    above = ((v + canvas.half_v) / (shore + canvas.half_v)).clamp(0, 1)
    image = gradient(above, p["top"], p["middle"], p["bottom"])
    if some(p["stars"]):
        image = glow(image, stars(canvas, p["seed"], p["stars"]), torch.ones(1, 1, 3, 1, 1))
    x, y = p["x"] * canvas.half_u, p["height"] * canvas.half_v + p["rise"] * canvas.t.clamp(max=6) * canvas.half_v * 2
    distance = ((canvas.u - x).square() + (v - y).square()).sqrt()
    image = sun(canvas, image, distance, p["light"], radius=0.10)
    side, haze = -p["x"].sign(), 0.4 * p["bottom"] + 0.6 * p["far"]
    image = massif(
        canvas, v, calm, image, foot=shore, tall=0.78, phase=p["phase"], rough=p["rough"], rock=p["far"],
        light=p["light"], snow=p["snow"], side=side, haze=haze,
    )  # fmt: skip
    return massif(
        canvas, v, calm, image, foot=shore, tall=0.36, phase=p["phase"] * 1.7 + 2, rough=p["rough"], rock=p["near"],
        light=p["light"], snow=0.0, side=side,
    )  # fmt: skip


def fog(canvas: Canvas, p: Params, shore: float) -> Tensor:
    """A bank of mist above the water that drifts and lifts slowly."""
    lift = 0.02 * canvas.t.clamp(max=8)
    band = bell(((canvas.v - shore + 0.02 + lift) / 0.13).square())
    wisp = 0.75 + 0.25 * torch.sin(3.4 * canvas.u - 0.7 * canvas.t + p["phase"] + 6 * canvas.v)
    return 0.85 * p["mist"] * band * wisp


def firs(canvas: Canvas, p: Params) -> Tensor:
    """Two groups of firs in the foreground, left and right, swaying; and the bank they stand on."""
    bank = canvas.cover(canvas.half_v * (1.04 - 0.22 * (canvas.u / canvas.half_u).square()) - canvas.v) * p["trees"]
    for place, height in ((-0.93, 0.80), (-0.70, 0.52), (0.74, 0.58), (0.96, 0.84)):
        x = torch.full_like(p["phase"], place * canvas.half_u)
        lean = 0.10 * p["wind"] * torch.sin(2.4 * canvas.t + place * 2 + p["phase"])
        foot = torch.full_like(x, canvas.half_v * 0.9)
        bank = torch.maximum(
            bank, canvas.cover(conifer(canvas.u, canvas.v, x, foot, height=height, lean=lean)) * p["trees"]
        )
    return bank
