"""Scene: a campfire at night, flames that lick and sparks that rise."""

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
    segment,
    some,
    specks,
    stars,
)
from engines.dit.data.scene import Scene
from engines.dit.data.words import article, look, say


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    forest = rng.random() < 0.5
    values: Values = {
        "phase": rng.uniform(0, 6.3), "seed": float(rng.randrange(4)), "forest": float(forest),
        "size": rng.uniform(0.9, 1.1),
        "top": (0.01, 0.02, 0.06), "middle": (0.03, 0.04, 0.10), "bottom": (0.08, 0.07, 0.12),
    }  # fmt: skip
    fire = say(rng, "campfire")
    where = (
        rng.choice((" in the forest", " in the woods", " between trees", " in a dark forest"))
        if forest
        else rng.choice(("", " under the stars", " in the open"))
    )
    verb = rng.choice(("burning", "burns", "flickering", "crackling", "glowing", "with rising sparks"))
    when = rng.choice((" at night", " at night", " by night", ""))
    return Scene(values, f"{article(look(rng, 0.25) + fire)} {verb}{where}{when}", {})


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of the flames [B,T,H,W]."""
    ground = 0.42 * canvas.half_v
    image = gradient((canvas.v + canvas.half_v) / (ground + canvas.half_v), p["top"], p["middle"], p["bottom"])
    image = glow(image, stars(canvas, p["seed"]) * canvas.cover(canvas.v - ground + 0.1), torch.ones(1, 1, 3, 1, 1))
    flicker = 1 + 0.07 * torch.sin(9 * canvas.t + p["phase"])
    for place, height in ((-0.80, 0.80), (-0.45, 0.55), (0.52, 0.62), (0.86, 0.85)) if some(p["forest"]) else ():
        foot = torch.full_like(p["phase"], ground + 0.02)
        tree = conifer(canvas.u, canvas.v, torch.full_like(foot, place * canvas.half_u), foot, height=height)
        image = paint(image, canvas.cover(tree) * p["forest"], torch.tensor((0.035, 0.05, 0.05)).view(1, 1, 3, 1, 1))
    image = paint(image, canvas.cover(ground - canvas.v), torch.tensor((0.10, 0.08, 0.07)).view(1, 1, 3, 1, 1))
    base = ground + 0.12
    part, rows, columns = canvas.lens(-0.45, 0.45, ground + 0.1, ground + 0.26)
    image = canvas.inset(image, stones(part, cut(image, rows, columns), ground + 0.165), rows, columns)
    warmth = bell((canvas.u.square() + ((canvas.v - base + 0.1) * 1.2).square()) / 0.16) * flicker
    image = glow(image, 0.55 * warmth, torch.tensor((1.0, 0.45, 0.12)).view(1, 1, 3, 1, 1))
    part, rows, columns = canvas.lens(-0.5, 0.5, -1.1, base + 0.12)
    fire, mask = flames(part, p, cut(image, rows, columns), base)
    image = canvas.inset(image, logs(part, fire, base), rows, columns)
    return image, canvas.outset(mask, rows, columns)


def stones(canvas: Canvas, image: Tensor, height: float) -> Tensor:
    """A ring of stones around the fire."""
    for place in range(9):
        x, y, size = -0.36 + 0.09 * place, height + 0.022 * ((place * 5) % 3), 0.036 + 0.006 * (place % 3)
        u, v = (canvas.u - x) / 1.25, canvas.v - y
        stone = canvas.cover((u.square() + v.square()).sqrt() - size, 1.5)
        lit = (0.20 - 2.2 * v - 1.2 * u * (1 if x > 0 else -1)).clamp(0.06, 0.32)
        image = paint(image, stone, lit.unsqueeze(2) * torch.tensor((1.0, 0.88, 0.80)).view(1, 1, 3, 1, 1))
    return image


def flames(canvas: Canvas, p: Params, image: Tensor, base: float) -> tuple[Tensor, Tensor]:
    """Three nested tongues from red to pale yellow, and sparks."""
    up = ((base - canvas.v) / (0.70 * p["size"])).clamp(-1, 2)
    wobble = (
        0.05 * torch.sin(7 * canvas.t - 6 * up + p["phase"]) + 0.025 * torch.sin(11 * canvas.t - 11 * up)
    ) * up.clamp(0, 1)
    mask = torch.zeros(1)
    for tint, scale in (((0.93, 0.26, 0.06), 1.0), ((1.0, 0.60, 0.12), 0.74), ((1.0, 0.92, 0.55), 0.45)):
        tall = (up / scale).clamp(-1, 1)
        half = 0.23 * scale * p["size"] * ((1 - tall).clamp(min=0).sqrt() * (tall + 0.18).clamp(min=0).sqrt())
        distance = torch.maximum((canvas.u - wobble).abs() - half, up - scale)
        opacity = canvas.cover(torch.maximum(distance, -0.5 * up), 3.0)
        image = paint(image, opacity, torch.tensor(tint).view(1, 1, 3, 1, 1))
        mask = torch.maximum(mask, opacity)
    sparks, luck = specks(
        canvas,
        canvas.u + 5 + 0.03 * torch.sin(4 * canvas.v + canvas.t),
        canvas.v + 0.32 * canvas.t + 9,
        cell=0.14,
        radius=0.008,
        seed=p["seed"],
    )
    near = bell((canvas.u / 0.24).square()) * canvas.cover(canvas.v - base + 0.1) * (luck > 0.35)
    return glow(image, sparks * near, torch.tensor((1.0, 0.62, 0.22)).view(1, 1, 3, 1, 1)), mask


def logs(canvas: Canvas, image: Tensor, base: float) -> Tensor:
    """Two crossed logs."""
    for tilt, tint in ((1.0, 0.24), (-1.0, 0.30)):
        log = segment(canvas.u, canvas.v, (-0.20, base + 0.035 * tilt), (0.20, base - 0.035 * tilt), 0.035)
        bark = torch.tensor((tint, tint * 0.52, tint * 0.28)).view(1, 1, 3, 1, 1)
        image = paint(image, canvas.cover(log), bark)
    return image
