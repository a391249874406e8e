"""Scene: inside a forest, with sunbeams, falling leaves and swaying boughs; by night with fireflies."""

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
    glow,
    paint,
    some,
    specks,
)
from engines.dit.data.nature import leaves
from engines.dit.data.scene import Scene
from engines.dit.data.words import article, look, say

KINDS: dict[str, tuple[Colour, Colour, Colour, Colour, Colour]] = {  # light behind, haze, trunks, leaves, ground
    "summer": ((0.86, 0.95, 0.62), (0.42, 0.66, 0.36), (0.22, 0.17, 0.12), (0.20, 0.46, 0.13), (0.20, 0.34, 0.12)),
    "autumn": ((1.00, 0.90, 0.62), (0.90, 0.62, 0.30), (0.26, 0.16, 0.11), (0.86, 0.40, 0.08), (0.56, 0.30, 0.10)),
    "morning": ((0.96, 0.94, 0.86), (0.66, 0.76, 0.74), (0.25, 0.26, 0.25), (0.28, 0.44, 0.32), (0.28, 0.36, 0.26)),
    "night": ((0.22, 0.32, 0.50), (0.07, 0.12, 0.22), (0.03, 0.04, 0.06), (0.03, 0.08, 0.09), (0.03, 0.06, 0.07)),
}
GROUND = 0.52  # of half the height


def sample(rng: Random) -> Scene:
    """Draw the parameters of a clip, its sentence and its facts."""
    kind = rng.choice(tuple(KINDS))
    beams, falling = rng.random() < 0.6, rng.random() < (0.75 if kind == "autumn" else 0.25)
    light, haze, trunk, leaf, ground = KINDS[kind]
    values: Values = {
        "light": light, "haze": haze, "trunk": trunk, "leaf": leaf, "ground": ground,
        "beams": float(beams and kind != "night"), "falling": float(falling and kind != "night"),
        "night": float(kind == "night"), "x": rng.uniform(-0.5, 0.5), "phase": rng.uniform(0, 6.3),
        "seed": float(rng.randrange(6)), "wind": rng.uniform(0.8, 1.2),
    }  # fmt: skip
    facts = {"time": "night"} if kind == "night" else {}
    return Scene(values, caption(rng, kind, beams, falling), facts)


def caption(rng: Random, kind: str, beams: bool, falling: bool) -> str:  # noqa: FBT001 - facts of the clip
    """The sentence for a clip."""
    wood, mood = say(rng, "forest"), look(rng)
    form = {
        "summer": (
            f"{article(mood + 'green ' + wood)}",
            f"inside {article(mood + wood)} in summer",
            f"{article(mood + wood)}",
        ),
        "autumn": (
            f"{article(mood + 'autumn ' + wood)}",
            f"{article(mood + wood)} in autumn",
            f"{article(mood + 'golden ' + wood)} in the fall",
        ),
        "morning": (
            f"{article(mood + 'misty ' + wood)}",
            f"{article(mood + wood)} in the morning mist",
            f"{article(mood + 'foggy ' + wood)}",
        ),
        "night": (
            f"{article(mood + wood)} at night",
            f"{article('dark ' + wood)} by night",
            f"{article(mood + wood)} at night in moonlight",
        ),
    }[kind]
    if kind == "night":
        return rng.choice(form) + rng.choice(
            (", fireflies", " with fireflies", ", fireflies glowing between the trees")
        )
    rays = rng.choice((", sunbeams through the trees", " with rays of sunlight", ", sun rays between the trunks"))
    fall = rng.choice((", leaves falling", " with falling leaves", ", leaves drifting down"))
    end = (rays if beams else "") + (fall if falling else "")
    return rng.choice(form) + (end or rng.choice((", leaves swaying in the wind", ", trees in the breeze")))


def render(canvas: Canvas, p: Params) -> tuple[Tensor, Tensor]:
    """Picture [B,T,C,H,W] and the mask of leaves in the air, beams and fireflies [B,T,H,W]."""
    u, v, half = canvas.u, canvas.v, canvas.half_v
    floor = GROUND * half
    source = (u - p["x"]).square() / 0.9 + (v + 0.30 * half).square() / 0.35
    bright = bell(source)
    image = p["haze"] + bright.unsqueeze(2) * (p["light"] - p["haze"])
    for step, width, far in ((0.19, 0.030, 0.72), (0.31, 0.050, 0.42)):
        image = trunks(canvas, p, image, step=step, width=width, far=far, base=floor * (1.05 - 0.2 * far))
    image = soil(canvas, p, image, floor)
    mask = torch.zeros(1, 1, 1, 1)
    if some(p["beams"]):
        shine = beams(canvas, p)
        image, mask = glow(image, shine, 0.5 * p["light"]), 0.3 * shine
    image = trunks(canvas, p, image, step=0.62, width=0.085, far=0.0, base=floor * 1.35)
    part, rows, columns = canvas.lens(bottom=0.45 * half)
    image = canvas.inset(image, boughs(part, p, cut(image, rows, columns)), rows, columns)
    if some(p["falling"]):
        fall = falling(canvas, p)
        image, mask = paint(image, fall, p["leaf"] * 1.15 + 0.08), torch.maximum(mask, fall)
    if some(p["night"]):
        flies = fireflies(canvas, p)
        image = glow(image, flies, torch.tensor((0.95, 1.0, 0.45)).view(1, 1, 3, 1, 1))
        mask = torch.maximum(mask, flies.clamp(0, 1))
    return image, mask


def trunks(canvas: Canvas, p: Params, image: Tensor, *, step: float, width: float, far: float, base: float) -> Tensor:
    """A row of trunks, paler with distance, lit from the side of the sun, wider at the foot."""
    index = torch.floor(canvas.u / step + p["phase"])
    luck = chance(index, index * 0 + 3, p["seed"] + far)
    x = (index + 0.3 + 0.4 * luck - p["phase"]) * step
    foot = base + 0.05 * luck
    thick = width * (0.7 + 0.6 * luck) * (1 + 0.5 * torch.exp((canvas.v - foot).clamp(max=0) * 12))
    side = (canvas.u - x + 0.012 * torch.sin(4 * canvas.v + 9 * luck)) / thick
    mask = canvas.cover(torch.maximum((side.abs() - 1) * thick, canvas.v - foot))
    toward = (p["x"] - x).sign()
    bark = 0.85 + 0.55 * (side * toward).clamp(-0.6, 1) + 0.10 * torch.sin(side * 9 + 3 * torch.sin(14 * canvas.v))
    shade = p["trunk"] * bark.unsqueeze(2)
    return paint(image, mask, shade + far * (p["haze"] - shade))


def soil(canvas: Canvas, p: Params, image: Tensor, floor: float) -> Tensor:
    """The ground: bright under the light, with tufts."""
    edge = floor + 0.02 * torch.sin(5 * canvas.u + p["phase"])
    near = ((canvas.v - edge) / (canvas.half_v - floor)).clamp(0, 1.3)
    patch = bell(((canvas.u - p["x"]) / (0.35 + 0.5 * near)).square()) * (1 - 0.6 * near)
    _, tuft = leaves(canvas, canvas.u, canvas.v * 2.2, cell=0.13, seed=p["seed"] + 5)
    tone = p["ground"] * (0.78 + 0.30 * tuft - 0.35 * near).unsqueeze(2)
    tone = tone + 0.42 * patch.unsqueeze(2) * p["light"]
    return paint(image, canvas.cover(edge - canvas.v, 3.0), tone)


def beams(canvas: Canvas, p: Params) -> Tensor:
    """Slanting rays that shimmer as boughs move in front of the sun."""
    along = canvas.u + 0.55 * canvas.v - p["x"]
    rays = torch.sin(11 * along + 0.35 * canvas.t + p["phase"]) + 0.7 * torch.sin(23 * along - 0.5 * canvas.t)
    fade = bell((along / 0.55).square()) * (0.9 - 0.45 * (canvas.v / canvas.half_v)).clamp(0, 1.2)
    return 0.55 * p["beams"] * rays.clamp(0, 1.5) * fade


def boughs(canvas: Canvas, p: Params, image: Tensor) -> Tensor:
    """Foliage that hangs in from above and from the sides, swaying."""
    sway = 0.022 * p["wind"] * torch.sin(1.9 * canvas.t + 2.5 * canvas.u + p["phase"])
    u, v = canvas.u + sway, canvas.v + 0.5 * sway
    opacity, bright = leaves(canvas, u, v, cell=0.085, seed=p["seed"])
    low = canvas.half_v * (-0.62 + 0.16 * torch.sin(3.1 * u + p["phase"]) + 0.07 * torch.sin(8 * u))
    low = low + 0.55 * canvas.half_v * ((u / canvas.half_u).abs() - 0.55).clamp(0, 0.6)
    inside = canvas.cover(v - low - 0.10 * bright, 6.0)
    tone = p["leaf"] * (0.55 + 0.75 * bright).unsqueeze(2) + 0.10 * p["light"] * bright.unsqueeze(2)
    return paint(image, inside * (0.55 + 0.45 * opacity), tone)


def falling(canvas: Canvas, p: Params) -> Tensor:
    """Leaves that rock to and fro as they fall."""
    drift = 0.06 * torch.sin(1.6 * canvas.t + 5 * canvas.v)
    dots, luck = specks(
        canvas, canvas.u + drift + 0.05 * canvas.t + 7, (canvas.v - 0.17 * canvas.t + 30) * 1.5,
        cell=0.24, radius=0.021, seed=p["seed"] + 2,
    )  # fmt: skip
    return dots * (luck > 0.35) * p["falling"]


def fireflies(canvas: Canvas, p: Params) -> Tensor:
    """Small lights that wander and pulse."""
    u = canvas.u + 0.06 * torch.sin(0.9 * canvas.t + 3 * canvas.v) + 9
    v = canvas.v + 0.05 * torch.sin(1.3 * canvas.t + 4 * canvas.u) + 9
    cell = 0.26
    i, j = (u / cell).floor(), (v / cell).floor()
    luck = chance(i, j, p["seed"] + 4)
    du, dv = u / cell - i - 0.3 - 0.4 * luck, v / cell - j - 0.3 - 0.4 * (luck * 7.31).frac()
    far = (du.square() + dv.square()) * cell * cell
    pulse = (0.5 + 0.5 * torch.sin(2.2 * canvas.t + 40 * luck)) * (luck > 0.3)
    return p["night"] * pulse * (bell(far / 0.00012) + 0.35 * bell(far / 0.0014))
