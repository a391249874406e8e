"""Scene: space. The Earth or another planet, stars that twinkle, perhaps an astronaut who floats by."""

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
    disc,
    glow,
    paint,
    segment,
    some,
    stars,
)
from engines.dit.data.scene import Scene
from engines.dit.data.words import COLOURS, article, hue, look, say

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
    tint, pairs = ("", ()) if earth else hue(rng, colour, "planet")
    return Scene(values, caption(rng, astronaut, tint), {} if earth else {"planet": colour}, pairs)


def caption(rng: Random, astronaut: bool, tint: str) -> str:  # noqa: FBT001 - a fact of the clip
    """The sentence for a clip; `tint` is the colour of a planet, "" for the Earth."""
    space = say(rng, "space")
    globe = article(f"{tint} planet") if tint else say(rng, "earth")
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
    halo = bell((distance - size).clamp(min=0) / 0.045) * 0.75
    image = glow(image, halo * p["earth"], torch.tensor((0.30, 0.55, 1.0)).view(1, 1, 3, 1, 1))
    globe = canvas.cover(distance - size)
    part, rows, columns = canvas.lens(x - size - 0.02, x + size + 0.02, y - size - 0.02, y + size + 0.02)
    body = paint(cut(image, rows, columns), cut(globe, rows, columns), planet(part, p, x, y, size))
    image = canvas.inset(image, body, rows, columns)
    return astronaut_at(canvas, p, image, 0.3 * globe) if some(p["astronaut"]) else (image, 0.3 * globe)


def planet(canvas: Canvas, p: Params, x: Tensor, y: Tensor, size: Tensor) -> Tensor:
    """A turning globe lit from the upper left: the Earth's seas, lands and clouds, or the bands of another planet."""
    a, b = ((canvas.u - x) / size).clamp(-1, 1), ((canvas.v - y) / size).clamp(-1, 1)
    depth = (1 - a.square() - b.square()).clamp(min=0).sqrt()
    body = torch.zeros(1)
    if (p["earth"] == 0).any():
        body = bands(p, a, b, depth, canvas.t)
    if (p["earth"] > 0).any():
        body = torch.where(p["earth"].unsqueeze(2) > 0, earth(p, a, b, depth, canvas.t), body)
    light = (0.68 * depth - 0.46 * a - 0.48 * b + 0.16).clamp(0.03, 1.1)
    return body * light.unsqueeze(2)


def turned(p: Params, a: Tensor, depth: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Where a point of the disc is on the globe, about its axis."""
    cos, sin = torch.cos(angle + p["phase"]), torch.sin(angle + p["phase"])
    return a * cos - depth * sin, depth * cos + a * sin


def bands(p: Params, a: Tensor, b: Tensor, depth: Tensor, t: Tensor) -> Tensor:
    """A gas giant: bands that wave, and a storm that comes round."""
    x, z = turned(p, a, depth, -p["spin"] * t)
    wave = 0.25 * torch.sin(3 * x + 2 * z) + 0.12 * torch.sin(7 * z - 4 * x)
    tone = 1 + 0.17 * torch.sin(10 * b + wave * 3) + 0.07 * torch.sin(23 * b + 5 * wave)
    storm = bell((x - 0.2).square() / 0.05 + (b - 0.28).square() / 0.012) * (z > 0)
    body = p["colour"] * tone.unsqueeze(2)
    return paint(body, 0.55 * storm, torch.ones(1, 1, 3, 1, 1) * 0.9)


def earth(p: Params, a: Tensor, b: Tensor, depth: Tensor, t: Tensor) -> Tensor:
    """Seas with a glint, green and dry lands, ice at the poles, and clouds that turn a little faster."""
    x, z = turned(p, a, depth, -p["spin"] * t)
    bend = 1.1 * torch.sin(2.6 * b + 1.7 * x)
    land = torch.sin(2.9 * x + bend) + torch.sin(3.3 * z + 2.1 * b - bend) + 0.45 * torch.sin(7 * x - 5 * b + 2 * bend)
    land = land + 0.30 * torch.sin(11 * z + 9 * b) + 0.25 * torch.sin(9 * b - 12 * x)
    shore = ((land - 0.35) * 5).clamp(0, 1)
    dry = (0.5 + 0.5 * torch.sin(5 * b + 2.3 * land)).unsqueeze(2)
    green, sand = ((0.16, 0.42, 0.16), (0.62, 0.53, 0.32))
    ground = (
        torch.tensor(green).view(1, 1, 3, 1, 1) * (1 - 0.7 * dry) + torch.tensor(sand).view(1, 1, 3, 1, 1) * 0.7 * dry
    )
    sea = torch.tensor((0.05, 0.22, 0.58)).view(1, 1, 3, 1, 1)
    glint = bell(((a + 0.42).square() + (b + 0.45).square()) / 0.05).unsqueeze(2)
    body = paint(sea + 0.28 * glint, shore, ground)
    body = paint(body, ((b.abs() + 0.05 * land - 0.84) * 9).clamp(0, 1), torch.full((1, 1, 3, 1, 1), 0.93))
    x, z = turned(p, a, depth, -1.35 * p["spin"] * t)
    swirl = 1.4 * torch.sin(2.2 * x + 3.1 * b) + 0.8 * torch.sin(3.7 * z - 2 * b)
    cloud = torch.sin(4.1 * b + swirl) + 0.6 * torch.sin(6.3 * x + 8.7 * b + swirl) + 0.4 * torch.sin(13 * z + 9 * b)
    return paint(body, 0.9 * ((cloud - 0.55) * 1.6).clamp(0, 1), torch.full((1, 1, 3, 1, 1), 0.97))


def astronaut_at(canvas: Canvas, p: Params, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """An astronaut who drifts and turns slowly, on the part of the board where there is one; adds to the mask."""
    x = p["man_x"] * canvas.half_u + p["drift"] * canvas.t.clamp(max=8)
    y = p["man_y"] * canvas.half_v + 0.035 * torch.sin(canvas.t * 1.1 + p["phase"])
    part, rows, columns = canvas.lens(x - 0.42, x + 0.42, y - 0.42, y + 0.42)
    body, man = suit_at(part, p, cut(image, rows, columns), x, y)
    return canvas.inset(image, body, rows, columns), torch.maximum(mask, canvas.outset(man, rows, columns))


def suit_at(canvas: Canvas, p: Params, image: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A white suit with a dark visor and a pack on the back."""
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
    shine = bell(((u + 0.025).square() + (v + 0.18).square()) / 0.0004)
    image = glow(image, 0.7 * shine * show, torch.tensor((1.0, 0.85, 0.5)).view(1, 1, 3, 1, 1))
    mask = canvas.cover(torch.minimum(torch.minimum(trunk, helmet), pack)) * show
    return image, mask
