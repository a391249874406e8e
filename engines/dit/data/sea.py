"""Scene: the open sea under a setting sun, a rising sun, the moon, or a blue sky."""

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
    cut,
    disc,
    glow,
    gradient,
    paint,
    some,
    stars,
)
from engines.dit.data.nature import clouds
from engines.dit.data.scene import Scene
from engines.dit.data.words import article, look, say

TIMES = ("sunset", "sunrise", "night", "day")
SKIES: dict[str, tuple[Colour, Colour, Colour]] = {
    "sunset": ((0.24, 0.12, 0.38), (0.80, 0.30, 0.32), (1.00, 0.66, 0.26)),
    "sunrise": ((0.40, 0.56, 0.84), (0.92, 0.72, 0.74), (1.00, 0.90, 0.62)),
    "night": ((0.01, 0.02, 0.07), (0.03, 0.06, 0.16), (0.08, 0.13, 0.27)),
    "day": ((0.18, 0.46, 0.86), (0.46, 0.71, 0.94), (0.82, 0.91, 0.97)),
}
WATERS: dict[str, tuple[Colour, Colour]] = {
    "sunset": ((0.66, 0.30, 0.32), (0.15, 0.08, 0.24)),
    "sunrise": ((0.72, 0.70, 0.76), (0.20, 0.34, 0.54)),
    "night": ((0.06, 0.10, 0.21), (0.01, 0.02, 0.06)),
    "day": ((0.30, 0.62, 0.80), (0.05, 0.27, 0.54)),
}
LIGHTS: dict[str, Colour] = {
    "sunset": (1.00, 0.78, 0.38),
    "sunrise": (1.00, 0.94, 0.66),
    "night": (0.94, 0.95, 0.88),
    "day": (1.00, 0.98, 0.86),
}


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    time = rng.choice(("sunset", "sunset", "sunrise", "sunrise", "night", "night", "day"))
    boat, cloudy = rng.random() < 0.25, time != "night" and rng.random() < 0.45
    top, middle, bottom = SKIES[time]
    near, far = WATERS[time][1], WATERS[time][0]
    values: Values = {
        "top": top, "middle": middle, "bottom": bottom, "far": far, "near": near, "light": LIGHTS[time],
        "x": rng.uniform(-0.3, 0.3), "start": {"sunset": -0.34, "sunrise": 0.02, "night": -0.62, "day": -0.72}[time],
        "fall": {"sunset": 0.066, "sunrise": -0.066, "night": 0.0, "day": 0.0}[time],
        "size": {"sunset": 0.17, "sunrise": 0.15, "night": 0.12, "day": 0.10}[time],
        "halo": {"sunset": 0.50, "sunrise": 0.50, "night": 0.25, "day": 0.16}[time],
        "stars": float(time == "night"), "seed": float(rng.randrange(4)), "boat": float(boat),
        "clouds": float(cloudy), "boat_x": rng.uniform(-0.4, 0.4), "boat_speed": rng.choice((-0.05, 0.05)),
    }  # fmt: skip
    return Scene(values, caption(rng, time, boat, cloudy), {"time": time})


def caption(rng: Random, time: str, boat: bool, cloudy: bool) -> str:  # noqa: FBT001 - facts of the clip
    """The sentence for a clip."""
    sea, mood = say(rng, "sea"), look(rng)
    base = {
        "sunset": (
            f"{article(mood + 'sunset')} over the {sea}",
            f"the sun sets over the {mood}{sea}",
            f"the {sea} at {say(rng, 'sunset')}",
            f"the setting sun sinks into the {sea}, orange sky",
        ),
        "sunrise": (
            f"{article(mood + 'sunrise')} over the {sea}",
            f"the sun rises over the {mood}{sea}",
            f"the {sea} at {say(rng, 'sunrise')}",
            f"the morning sun climbs above the {sea}",
        ),
        "night": (
            f"the moon over the {mood}{sea} at {say(rng, 'night')}",
            f"moonlit {sea}",
            f"a full moon shines over the {mood}{sea}",
            f"night {sea} under moonlight",
            f"moonlight on the {mood}{sea}",
        ),
        "day": (
            f"the {mood}{sea} {say(rng, 'day')}",
            f"{mood}blue {sea} in the sunshine",
            f"sunny day at the {sea}, gentle waves",
        ),
    }[time]
    vessel = rng.choice((", a sailing boat", " with a sailboat", ", a small boat drifting by"))
    sky = rng.choice((", clouds in the sky", " under drifting clouds", ", drifting clouds", ""))
    return rng.choice(base) + (vessel if boat else "") + (sky if cloudy else "")


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of sun, moon and boat [B,T,H,W]."""
    horizon = 0.12 * canvas.half_v
    above = ((canvas.v + canvas.half_v) / (horizon + canvas.half_v)).clamp(0, 1)
    image = gradient(above, p["top"], p["middle"], p["bottom"])
    if some(p["stars"]):
        image = glow(image, stars(canvas, p["seed"], p["stars"]), torch.ones(1, 1, 3, 1, 1))
    x = p["x"] * canvas.half_u
    y = p["start"] * canvas.half_v + horizon + p["fall"] * canvas.t.clamp(max=6) * 2 * canvas.half_v
    distance = disc(canvas, x, y)
    image = paint(image, 0.8 * bell((distance / (0.8 * p["halo"])).square()), p["light"])
    sun = canvas.cover(distance - p["size"], 2.0)
    image = paint(image, sun, 0.6 * p["light"] + 0.4)
    if some(p["clouds"]):
        sky = clouds(canvas, canvas.v, 6 * p["x"], low=0.02, high=-1.05 * canvas.half_v, wind=0.03)
        image = paint(image, 0.75 * p["clouds"] * sky, 0.45 * p["bottom"] + 0.52 * p["light"])
    water = canvas.cover(horizon - canvas.v)
    part, rows, columns = canvas.lens(top=horizon - 0.03)
    wet = paint(cut(image, rows, columns), part.cover(horizon - part.v), waves(part, p, x, horizon))
    image, mask = canvas.inset(image, wet, rows, columns), sun * (1 - water)
    if not some(p["boat"]):
        return image, mask
    part, rows, columns = canvas.lens(top=horizon - 0.25, bottom=horizon + 0.22)
    boat, hull = sail(part, p, cut(image, rows, columns), horizon)
    return canvas.inset(image, boat, rows, columns), torch.maximum(mask, canvas.outset(hull, rows, columns))


def waves(canvas: Canvas, p: Params, x: Tensor, horizon: float) -> Tensor:
    """Water: darker towards the viewer, ripples that grow with nearness, a glittering path below the light."""
    down = ((canvas.v - horizon) / (canvas.half_v - horizon)).clamp(0, 3)
    phase = 30 * (down + 0.12).sqrt() * 2
    ripple = torch.sin(phase - 1.6 * canvas.t + 0.9 * torch.sin(3.5 * canvas.u + 0.8 * canvas.t)) * (
        0.25 + 0.75 * down.clamp(max=1)
    )
    body = p["far"] + down.clamp(max=1).sqrt().unsqueeze(2) * (p["near"] - p["far"])
    body = body * (1 + 0.16 * ripple).unsqueeze(2)
    spread = 0.09 + 0.22 * down + 0.05 * ripple
    road = bell(((canvas.u - x) / spread).square()) * (0.55 + 0.40 * ripple) * (1 - 0.35 * down).clamp(min=0)
    return paint(body, road.clamp(0, 1), p["light"])


def sail(canvas: Canvas, p: Params, image: Tensor, horizon: float) -> tuple[Tensor, Tensor]:
    """A sailing boat, dark against the light, rocking a little."""
    reach = canvas.half_u + 0.25  # it comes back from the other side
    x = p["boat_x"] * canvas.half_u + p["boat_speed"] * canvas.t
    u = canvas.u - (torch.remainder(x + reach, 2 * reach) - reach)
    v = canvas.v - horizon - 0.10 - 0.006 * torch.sin(2.2 * canvas.t)
    u = u + 0.10 * torch.sin(1.7 * canvas.t) * v
    hull = torch.maximum(torch.maximum(u.abs() - 0.15 + 0.9 * v.clamp(min=0), v - 0.045), -v)
    cloth = torch.maximum(torch.maximum(u.abs() - 0.42 * (v + 0.28), v + 0.02), -v - 0.28)
    hull_mask, sail_mask = canvas.cover(hull) * p["boat"], canvas.cover(cloth) * p["boat"]
    image = paint(image, sail_mask, torch.tensor((0.93, 0.90, 0.86)).view(1, 1, 3, 1, 1) * (0.35 + 0.65 * p["light"]))
    image = paint(image, hull_mask, torch.tensor((0.20, 0.10, 0.08)).view(1, 1, 3, 1, 1))
    return image, torch.maximum(hull_mask, sail_mask)
