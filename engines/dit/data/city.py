"""Scene: a city of the future, with lit windows, neon edges and flying cars, by night or at dusk."""

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
    cut,
    disc,
    glow,
    gradient,
    paint,
    segment,
    some,
    stars,
)
from engines.dit.data.scene import Scene
from engines.dit.data.words import COLOURS, article, hue, look, say

SKIES: dict[str, tuple[Colour, Colour, Colour]] = {
    "night": ((0.02, 0.02, 0.08), (0.09, 0.04, 0.20), (0.34, 0.10, 0.38)),
    "sunset": ((0.22, 0.12, 0.38), (0.78, 0.30, 0.38), (1.00, 0.64, 0.34)),
    "rain": ((0.03, 0.05, 0.09), (0.07, 0.10, 0.17), (0.15, 0.20, 0.30)),
}
CARS = ("yellow", "red", "cyan", "white", "pink")


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    time = rng.choice(("night", "night", "night", "sunset"))
    cars, way = rng.random() < 0.75, rng.choice((-1.0, 1.0))
    colour = rng.choice(CARS)
    top, middle, bottom = SKIES[time]
    values: Values = {
        "top": top, "middle": middle, "bottom": bottom, "seed": float(rng.randrange(10)),
        "night": float(time == "night"),
        "cars": float(cars), "way": way, "car": COLOURS[colour], "offset": rng.random(),
        "speed": rng.uniform(0.26, 0.36),
        "moon_x": rng.uniform(-0.6, 0.6),
    }  # fmt: skip
    tint, pairs = hue(rng, colour, "car") if cars and rng.random() < 0.5 else ("", ())
    return Scene(values, caption(rng, time, cars, way, tint), {"time": time}, pairs)


def caption(rng: Random, time: str, cars: bool, way: float, tint: str) -> str:  # noqa: FBT001 - facts of the clip
    """The sentence for a clip."""
    city, mood = say(rng, "city"), look(rng, 0.3)
    when = rng.choice(
        (f"at {say(rng, time)}", f"at {say(rng, time)}", "by night" if time == "night" else "in the evening")
    )
    base = rng.choice(
        (f"{article(mood + city)} {when}", f"{article(mood + 'futuristic city')} {when}", f"the {city} {when}")
    )
    if not cars:
        return base + rng.choice(("", ", neon lights", ", lit windows", f" with neon-lit {say(rng, 'skyscrapers')}"))
    heading = rng.choice(("", "", " moving left" if way < 0 else " moving right"))
    between = rng.choice(
        (
            "",
            f" between neon-lit {say(rng, 'skyscrapers')}",
            f" between {say(rng, 'skyscrapers')}",
            f" among neon {say(rng, 'skyscrapers')}",
        )
    )
    return f"{base}{rng.choice((', with', ' with', ','))} {tint} {say(rng, 'cars')}{heading}{between}".replace(
        "  ", " "
    )


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of the cars [B,T,H,W]."""
    above = (canvas.v + canvas.half_v) / (2 * canvas.half_v)
    image = gradient(above, p["top"], p["middle"], p["bottom"])
    if some(p["night"]):
        image = glow(image, stars(canvas, p["seed"], 0.7 * p["night"]), torch.ones(1, 1, 3, 1, 1))
    moon = disc(canvas, p["moon_x"] * canvas.half_u, -0.72 * canvas.half_v)
    image = glow(
        image, p["night"] * 0.8 * canvas.cover(moon - 0.07, 2.0), torch.tensor((0.95, 0.92, 0.86)).view(1, 1, 3, 1, 1)
    )
    image = towers(canvas, p, image, width=0.26, tall=0.95, seed=p["seed"] + 3.3, near=0.45)
    image, far = traffic(canvas, p, image, height=-0.30, size=0.7, shift=0.0, way=-p["way"])
    image = towers(canvas, p, image, width=0.36, tall=0.62, seed=p["seed"], near=1.0)
    image, close = traffic(canvas, p, image, height=0.02, size=1.0, shift=0.37, way=p["way"])
    return image, torch.maximum(far, close)


def towers(canvas: Canvas, p: Params, image: Tensor, *, width: float, tall: float, seed: Tensor, near: float) -> Tensor:
    """A row of towers: dark walls, a grid of windows, one neon edge each."""
    column = torch.floor(canvas.u / width + 0.5)
    inside = canvas.u - column * width
    luck, tint = chance(column, column * 0 + 1, seed), chance(column, column * 0 + 2, seed)
    roof = canvas.half_v * (1 - 2 * tall * (0.45 + 0.55 * luck))
    half = width * (0.36 + 0.10 * tint)
    wall = canvas.cover(torch.maximum(inside.abs() - half, roof - canvas.v))
    shade = torch.tensor((0.05, 0.05, 0.11)).view(1, 1, 3, 1, 1) * near + (1 - near) * p["middle"] * 0.75
    image = paint(image, wall, shade)
    cell = 0.055
    row, line = torch.floor(canvas.v / cell), torch.floor(inside / cell + 0.5)
    x, y = inside / cell - line, canvas.v / cell - row - 0.5
    lit = (chance(line, row, seed + column) > 0.3).float()
    pane = lit * wall * canvas.cover((torch.maximum(x.abs() - 0.26, y.abs() - 0.30)) * cell, 1.5)
    pane = pane * canvas.cover(inside.abs() - half + 0.03) * canvas.cover(roof + 0.03 - canvas.v)
    warm = torch.tensor((1.0, 0.82, 0.42)).view(1, 1, 3, 1, 1)
    cold = torch.tensor((0.45, 0.88, 1.0)).view(1, 1, 3, 1, 1)
    image = paint(image, pane * (0.35 + 0.6 * near), torch.where((tint > 0.5).unsqueeze(2), cold, warm))
    neon = torch.tensor((1.0, 0.20, 0.75)).view(1, 1, 3, 1, 1) * (luck > 0.5).unsqueeze(2) + torch.tensor(
        (0.1, 0.9, 1.0)
    ).view(1, 1, 3, 1, 1) * (luck <= 0.5).unsqueeze(2)
    edge = bell(((inside.abs() - half) / 0.012).square()) * canvas.cover(roof - canvas.v)
    crown = bell(((canvas.v - roof) / 0.012).square()) * canvas.cover(inside.abs() - half)
    return paint(image, (torch.maximum(edge * 0.7, crown) * (0.35 + 0.6 * near)).clamp(0, 1), neon)


def traffic(
    canvas: Canvas, p: Params, image: Tensor, *, height: float, size: float, shift: float, way: Tensor
) -> tuple[Tensor, Tensor]:
    """A lane of flying cars: a dark glass top on a coloured body, with head and tail lights and a trail."""
    if not some(p["cars"]):
        return image, torch.zeros(1, 1, 1, 1)
    middle = height * canvas.half_v
    part, rows, columns = canvas.lens(top=middle - 0.16 * size, bottom=middle + 0.22 * size)
    lane, mask = cars(part, p, cut(image, rows, columns), height=height, size=size, shift=shift, way=way)
    return canvas.inset(image, lane, rows, columns), canvas.outset(mask, rows, columns)


def cars(
    canvas: Canvas, p: Params, image: Tensor, *, height: float, size: float, shift: float, way: Tensor
) -> tuple[Tensor, Tensor]:
    """The cars of a lane, on the part of the board that they cross."""
    gap = 0.86
    along = canvas.u - way * p["speed"] * size * canvas.t + (p["offset"] + shift) * gap
    lane = torch.floor(along / gap + 0.5)
    bob = 0.012 * torch.sin(2 * canvas.t + 2 * lane)
    u, v = (along - lane * gap) / size * way, (canvas.v - height * canvas.half_v - bob) / size
    body = segment(u, v + 0.10 * u.square(), (-0.12, 0.012), (0.13, 0.006), 0.026)
    fin = segment(u, v, (-0.145, -0.055), (-0.10, 0.0), 0.011)
    top = torch.maximum(((u + 0.005) / 1.9).square() + (v + 0.012).square() - 0.0021, v - 0.01)
    show = p["cars"]
    trail = bell((v / 0.016).square()) * ((u + 0.60) / 0.60).clamp(0, 1) * (u < -0.1)
    image = glow(image, 0.75 * trail * show, p["car"])
    under = bell((u / 0.13).square() + ((v - 0.06) / 0.035).square())
    image = glow(image, 0.55 * show * under, 0.5 * p["car"] + 0.3)
    glass = torch.tensor((0.55, 0.80, 0.95)).view(1, 1, 3, 1, 1) * (0.75 - 9 * (v + 0.03)).clamp(0.2, 1).unsqueeze(2)
    image = paint(image, canvas.cover(top * 8 * size) * show, glass)
    mask = canvas.cover(torch.minimum(body, fin) * size) * show
    image = paint(image, mask, p["car"] * (0.92 - 9.0 * v.clamp(-0.03, 0.05)).unsqueeze(2))
    lamp = bell(((u - 0.145).square() + (v - 0.005).square()) / 0.0005)
    image = glow(image, lamp * show, torch.ones(1, 1, 3, 1, 1))
    return image, torch.maximum(mask, 0.3 * show * trail)
