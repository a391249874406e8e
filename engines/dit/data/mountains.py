"""Scene: ranges of snowy mountains one behind the other, with drifting clouds and mist, at four times of day."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from engines.dit.data.canvas import (
    Canvas,
    Params,
    Values,
    bell,
    conifer,
    cut,
    glow,
    gradient,
    paint,
    some,
    stars,
)
from engines.dit.data.lake import LIGHTS, ROCKS, SKIES
from engines.dit.data.nature import clouds, massif, sun
from engines.dit.data.scene import Scene
from engines.dit.data.words import article, look, say

TIMES = ("sunset", "sunrise", "day", "day", "night")
MEADOWS = {
    "sunset": (0.24, 0.14, 0.20),
    "sunrise": (0.30, 0.36, 0.34),
    "day": (0.30, 0.50, 0.22),
    "night": (0.03, 0.06, 0.08),
}


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    time = rng.choice(TIMES)
    cloudy, birds = rng.random() < 0.6, rng.random() < 0.3
    top, middle, bottom = SKIES[time]
    far, near, wood = ROCKS[time]
    values: Values = {
        "top": top, "middle": middle, "bottom": bottom, "far": far, "near": near, "wood": wood, "light": LIGHTS[time],
        "meadow": MEADOWS[time], "phase": rng.uniform(0, 6.3), "rough": rng.random(), "x": rng.uniform(-0.5, 0.5),
        "height": {"sunset": -0.22, "sunrise": -0.28, "day": -0.82, "night": -0.74}[time],
        "rise": {"sunset": 0.02, "sunrise": -0.02, "day": 0.0, "night": 0.0}[time],
        "snow": 0.35 if time == "night" else 0.9, "stars": float(time == "night"), "seed": float(rng.randrange(4)),
        "clouds": float(cloudy), "birds": float(birds), "mist": 0.85 if time in ("sunrise", "sunset") else 0.45,
    }  # fmt: skip
    return Scene(values, caption(rng, time, cloudy, birds), {"time": time})


def caption(rng: Random, time: str, cloudy: bool, birds: bool) -> str:  # noqa: FBT001 - facts of the clip
    """The sentence for a clip."""
    land, mood = say(rng, "mountains"), look(rng)
    when = {
        "sunset": "at " + say(rng, "sunset"),
        "sunrise": "at " + say(rng, "sunrise"),
        "day": say(rng, "day"),
        "night": rng.choice(("at night", "under the stars at night", "by night")),
    }[time]
    forms = [f"{mood}{land} {when}", f"{mood}{land} {when}", f"the view of {land} {when}"]
    if time in ("sunset", "sunrise"):
        forms += [
            f"{article(mood + say(rng, time))} over {land}",
            f"the sun {'sets' if time == 'sunset' else 'rises'} behind {mood}{land}",
        ]
    sky = rng.choice((", clouds drifting by", " under drifting clouds", " with clouds", ", mist in the valleys"))
    flock = rng.choice((", birds flying", " with a flock of birds", ", birds in the sky"))
    return rng.choice(forms) + (sky if cloudy else "") + (flock if birds else "")


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of clouds and birds [B,T,H,W]."""
    half, u, v = canvas.half_v, canvas.u, canvas.v
    image = gradient(((v + half) / (1.3 * half)).clamp(0, 1), p["top"], p["middle"], p["bottom"])
    if some(p["stars"]):
        image = glow(image, stars(canvas, p["seed"], p["stars"]), torch.ones(1, 1, 3, 1, 1))
    drop = p["height"] * half + p["rise"] * 2 * half * canvas.t.clamp(max=6)
    far = ((u - p["x"] * canvas.half_u).square() + (v - drop).square()).sqrt()
    image = sun(canvas, image, far, p["light"], radius=0.085)
    sky = torch.zeros(1, 1, 1, 1)
    if some(p["clouds"]):
        sky = clouds(canvas, v, p["phase"], low=-0.02, high=-1.05 * half, wind=0.045)
        image = paint(image, 0.8 * p["clouds"] * sky, 0.35 * p["bottom"] + 0.62 * p["light"])
    side = -p["x"].sign()
    haze = 0.35 * p["bottom"] + 0.65 * p["far"]
    ranges = (
        (0.42, 0.98, p["phase"], 0.45 * p["bottom"] + 0.55 * p["far"], p["snow"]),
        (0.55, 0.74, p["phase"] * 1.7 + 1, p["far"], 0.8 * p["snow"]),
        (0.78, 0.55, p["phase"] * 2.3 + 2, p["near"], 0.35 * p["snow"]),
    )
    for foot, tall, phase, rock, snow in ranges:
        part, rows, columns = canvas.lens(top=(foot - 1.05 * tall) * half, bottom=(foot + 0.25) * half)
        rise = massif(
            part, part.v, part.v, cut(image, rows, columns), foot=foot * half, tall=tall, phase=phase,
            rough=p["rough"], rock=rock, light=p["light"], snow=snow, side=side, haze=haze,
        )  # fmt: skip
        image = canvas.inset(image, rise, rows, columns)
        part, rows, columns = canvas.lens(top=foot * half - 0.3, bottom=foot * half + 0.3)
        veil = paint(cut(image, rows, columns), mist(part, p, foot * half), 0.5 * p["bottom"] + 0.45 * p["light"])
        image = canvas.inset(image, veil, rows, columns)
    part, rows, columns = canvas.lens(top=0.05 * half)
    image = canvas.inset(image, meadow(part, p, cut(image, rows, columns)), rows, columns)
    mask = 0.4 * p["clouds"] * sky
    if not some(p["birds"]):
        return image, mask
    part, rows, columns = canvas.lens(top=-0.48 * half - 0.2, bottom=-0.48 * half + 0.2)
    flock = birds(part, p)
    dark = paint(cut(image, rows, columns), flock, torch.full((1, 1, 3, 1, 1), 0.08))
    return canvas.inset(image, dark, rows, columns), torch.maximum(mask, canvas.outset(flock, rows, columns))


def mist(canvas: Canvas, p: Params, height: float) -> Tensor:
    """A bank of mist at the foot of a range, drifting."""
    band = bell(((canvas.v - height) / 0.10).square())
    wisp = 0.6 + 0.4 * torch.sin(2.7 * canvas.u - 0.5 * canvas.t + p["phase"] + 5 * canvas.v + 9 * height)
    return 0.7 * p["mist"] * band * wisp


def meadow(canvas: Canvas, p: Params, image: Tensor) -> Tensor:
    """A slope in front, with firs on it that sway a little."""
    half = canvas.half_v
    edge = half * (0.80 + 0.08 * torch.sin(1.7 * canvas.u + p["phase"]) + 0.03 * torch.sin(5 * canvas.u))
    step = 0.21
    index = torch.floor(canvas.u / step + 0.5)
    luck = (torch.sin(index * 12.9 + p["seed"] * 7.1) * 437.5).frac().abs()
    x = (index + 0.18 * (luck - 0.5)) * step
    foot = half * 0.87 + 0.04 * luck
    lean = 0.05 * torch.sin(1.8 * canvas.t + 3 * luck + index)
    tree = conifer(canvas.u, canvas.v, x, foot, height=0.15 + 0.13 * luck, lean=lean)
    image = paint(
        image, canvas.cover(edge - canvas.v), p["meadow"] * (1.1 - 0.5 * (canvas.v - edge).clamp(0, 1)).unsqueeze(2)
    )
    return paint(image, canvas.cover(tree), p["wood"])


def birds(canvas: Canvas, p: Params) -> Tensor:
    """Five birds that cross the sky with beating wings, and come back from the other side."""
    mask = torch.zeros(1)
    reach = canvas.half_u + 0.3
    for number, (dx, dy) in enumerate(((0.0, 0.0), (-0.11, 0.05), (-0.12, -0.045), (-0.23, 0.09), (-0.25, -0.08))):
        x = torch.remainder(p["x"] + dx + 0.11 * canvas.t + reach, 2 * reach) - reach
        y = -0.48 * canvas.half_v + dy + 0.02 * torch.sin(canvas.t + number)
        u, v = (canvas.u - x).abs(), canvas.v - y
        beat = 0.55 * torch.sin(6 * canvas.t + 1.3 * number)
        wing = (v + beat * u + 2.0 * u * (0.045 - u)).abs() - 0.007 + 0.05 * u
        mask = torch.maximum(mask, canvas.cover(torch.maximum(wing, u - 0.05), 1.3))
    return mask * p["birds"]
