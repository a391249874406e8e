"""Scene: space. The Earth or another planet, stars that twinkle, perhaps an astronaut who floats by."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import math
from random import Random

import torch
from torch import Tensor

from engines.dit.data.canvas import Canvas, Params, Values, disc, glow, paint, segment, stars
from engines.dit.data.scene import Scene
from engines.dit.data.words import COLOURS, article, look, say

VOID = (0.01, 0.01, 0.035)


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    astronaut, earth = rng.random() < 0.65, rng.random() < 0.65
    colour = "blue" if earth else rng.choice([name for name in COLOURS if name not in ("black", "white")])
    side = rng.choice((-1.0, 1.0))
    values: Values = {
        "astronaut": float(astronaut), "earth": float(earth),
        "colour": (0.10, 0.30, 0.72) if earth else COLOURS[colour],
        "x": side * rng.uniform(0.30, 0.55) if astronaut else rng.uniform(-0.1, 0.1),
        "y": rng.uniform(0.10, 0.35) if astronaut else rng.uniform(-0.05, 0.05),
        "size": rng.uniform(0.34, 0.46) if astronaut else rng.uniform(0.28, 0.34),
        "seed": float(rng.randrange(6)), "spin": rng.uniform(0.10, 0.16), "phase": rng.uniform(0, 6.3),
        "man_x": -side * rng.uniform(0.25, 0.45), "man_y": rng.uniform(-0.12, 0.0),
        "drift": -side * rng.uniform(-0.03, 0.03), "turn": rng.uniform(-0.12, 0.12), "tilt": rng.uniform(-0.5, 0.5),
        "void": VOID,
    }  # fmt: skip
    return Scene(values, caption(rng, astronaut, earth, colour), {} if earth else {"planet": colour})


def caption(rng: Random, astronaut: bool, earth: bool, colour: str) -> str:  # noqa: FBT001 - facts of the clip
    """The sentence for a clip."""
    space = say(rng, "space")
    globe = say(rng, "earth") if earth else article(f"{say(rng, colour)} planet")
    twinkle = rng.choice(
        ("", ", stars twinkling", ", twinkling stars", " with stars twinkling", ", stars in the background")
    )
    if astronaut:
        man, verb = say(rng, "astronaut"), rng.choice(("floating", "floats", "drifting", "drifts", "floating"))
        where = rng.choice((f"in {space}", f"in {space}", f"in {space}", "weightless"))
        scene = rng.choice(
            (
                f", {globe} visible in the background",
                f" with {globe} behind",
                f" in front of {globe}",
                f" above {globe}",
                f", {globe} in the background",
            )
        )
        return f"{man} {verb} {where}{scene}{twinkle}"
    form = rng.choice(
        (
            f"{globe} seen from {space}",
            f"{look(rng)}{globe} in {space}",
            f"{globe} slowly turning in {space}",
            f"{globe} among the stars",
        )
    )
    return form + twinkle


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of the astronaut and of the planet's rim [B,T,H,W]."""
    image = p["void"] * (1 + 1.5 * (0.5 + canvas.v / canvas.half_v * 0.5)).unsqueeze(2)
    image = glow(image, stars(canvas, p["seed"]), torch.ones(1, 1, 3, 1, 1))
    x, y = p["x"] * canvas.half_u, p["y"] * canvas.half_v * 1.0
    size = p["size"]
    distance = disc(canvas, x, y)
    halo = torch.exp(-((distance - size).clamp(min=0) / 0.045)) * 0.75
    image = glow(image, halo * p["earth"], torch.tensor((0.30, 0.55, 1.0)).view(1, 1, 3, 1, 1))
    globe = canvas.cover(distance - size)
    image = paint(image, globe, planet(canvas, p, x, y, size))
    image, man = astronaut_at(canvas, p, image)
    return image, torch.maximum(man, 0.3 * globe)


def planet(canvas: Canvas, p: Params, x: Tensor, y: Tensor, size: Tensor) -> Tensor:
    """A turning globe lit from the upper left: seas, lands and clouds for the Earth, bands for the others."""
    a, b = ((canvas.u - x) / size).clamp(-1, 1), ((canvas.v - y) / size).clamp(-1, 1)
    depth = (1 - a.square() - b.square()).clamp(min=0).sqrt()
    longitude = a * (1.25 - 0.25 * depth) + p["spin"] * canvas.t
    land = torch.sin(3.1 * longitude + p["phase"] + 1.3 * torch.sin(2.7 * b + p["phase"])) + 0.7 * torch.sin(
        4.7 * b - 2.2 * longitude
    )
    cloud = torch.sin(2.2 * longitude + 5.5 * b + 1.5 * torch.sin(3 * longitude + p["phase"])) + 0.4 * torch.sin(9 * b)
    bands = 1 + 0.16 * torch.sin(9 * b + 0.8 * torch.sin(3 * longitude + p["phase"]))
    body = p["colour"] * torch.where(p["earth"] > 0, torch.ones_like(bands), bands).unsqueeze(2)
    green = torch.tensor((0.22, 0.46, 0.20)).view(1, 1, 3, 1, 1)
    body = paint(body, p["earth"] * ((land - 0.35) * 4).clamp(0, 1), green)
    body = paint(body, 0.85 * p["earth"] * ((cloud - 0.75) * 2.5).clamp(0, 1), torch.ones(1, 1, 3, 1, 1))
    light = (0.62 * depth - 0.42 * a - 0.46 * b + 0.22).clamp(0.06, 1.12)
    return body * light.unsqueeze(2)


def astronaut_at(canvas: Canvas, p: Params, image: Tensor) -> tuple[Tensor, Tensor]:
    """An astronaut in a white suit with a dark visor and a pack on the back, drifting and turning slowly."""
    x = p["man_x"] * canvas.half_u + p["drift"] * canvas.t.clamp(max=8)
    y = p["man_y"] * canvas.half_v + 0.035 * torch.sin(canvas.t * 1.1 + p["phase"])
    angle = p["tilt"] + p["turn"] * canvas.t
    du, dv = (canvas.u - x) / 1.25, (canvas.v - y) / 1.25
    u = torch.cos(angle) * du + torch.sin(angle) * dv
    v = torch.cos(angle) * dv - torch.sin(angle) * du
    wave = 0.05 * math.pi * 0.2 * torch.sin(canvas.t * 1.6)
    pack = segment(u, v, (-0.045, -0.01), (0.045, -0.01), 0.085)
    limbs = segment(u, v + wave, (0.07, -0.05), (0.19, -0.11), 0.034)
    limbs = torch.minimum(limbs, segment(u, v - wave, (-0.07, -0.05), (-0.19, 0.02), 0.034))
    limbs = torch.minimum(limbs, segment(u, v, (0.04, 0.10), (0.085, 0.25), 0.042))
    limbs = torch.minimum(limbs, segment(u, v, (-0.04, 0.10), (-0.10, 0.24), 0.042))
    trunk = torch.minimum(segment(u, v, (0.0, -0.03), (0.0, 0.08), 0.082), limbs)
    helmet = (u.square() + (v + 0.165).square()).sqrt() - 0.088
    visor = ((u / 1.25).square() + ((v + 0.16) / 0.95).square()).sqrt() - 0.05
    show = p["astronaut"]
    shadow = (0.86 - 1.4 * (u + v)).clamp(0.45, 1.05).unsqueeze(2)
    suit = torch.tensor((0.93, 0.94, 0.97)).view(1, 1, 3, 1, 1) * shadow
    image = paint(image, canvas.cover(pack, 1.2) * show, torch.full((1, 1, 3, 1, 1), 0.50))
    image = paint(image, canvas.cover(trunk, 1.2) * show, suit)
    image = paint(image, canvas.cover(helmet, 1.2) * show, suit)
    image = paint(image, canvas.cover(visor, 1.2) * show, torch.tensor((0.14, 0.11, 0.05)).view(1, 1, 3, 1, 1) * 1.5)
    shine = torch.exp(-((u + 0.025).square() + (v + 0.18).square()) / 0.0004)
    image = glow(image, 0.7 * shine * show, torch.tensor((1.0, 0.85, 0.5)).view(1, 1, 3, 1, 1))
    mask = canvas.cover(torch.minimum(torch.minimum(trunk, helmet), pack)) * show
    return image, mask
