"""Mountains, clouds and foliage that several scenes share."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor

from engines.dit.data.canvas import Canvas, bell, chance, paint


def skyline(u: Tensor, phase: Tensor, rough: Tensor) -> Tensor:
    """Outline of a mountain range in [0, 1] along u: peaks of three sizes."""
    large = 1 - torch.sin(2.3 * u + phase).abs()
    small = 1 - torch.sin(5.1 * u + 2.7 * phase).abs()
    tiny = 1 - torch.sin(11.3 * u + 4.1 * phase).abs()
    return 0.62 * large + (0.12 + 0.2 * rough) * small + 0.06 * tiny


def massif(
    canvas: Canvas, v: Tensor, calm: Tensor, image: Tensor, *, foot: float, tall: float, phase: Tensor, rough: Tensor,
    rock: Tensor, light: Tensor, snow: Tensor | float, side: Tensor | float = 1.0, haze: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A range of mountains as seen at the heights `v`: lit and shadowed faces, snow on top, haze at its foot.

    Faces and snow are looked up at the heights `calm`, which need not change with time when `v` does.
    """
    half = canvas.half_v
    peak = foot - half * tall * skyline(canvas.u, phase, rough)
    depth = (calm - peak).clamp(0, 1.5)
    bent = canvas.u + 0.16 * torch.sin(9 * canvas.u + 2 * phase + 7 * depth) * depth + 0.22 * depth
    slope = skyline(bent + 0.03, phase, rough) - skyline(bent - 0.03, phase, rough)
    lit = torch.sigmoid(26 * side * slope)
    face = rock * (0.70 + 0.45 * lit).unsqueeze(2) + (0.16 * light) * lit.unsqueeze(2)
    line = half * tall * 0.30 * (0.75 + 0.5 * torch.sin(7 * canvas.u + phase) * torch.sin(17 * bent + phase))
    cap = canvas.cover(depth - line - 0.06 * lit, 3.0) * snow
    white = light * (0.42 + 0.58 * lit).unsqueeze(2) * 0.85 + 0.15 * rock
    face = face + cap.unsqueeze(2) * (white - face)
    if haze is not None:
        deep = (1 - ((foot - calm) / (half * tall * 0.8)).clamp(0, 1)) * 0.75
        face = face + deep.unsqueeze(2) * (haze - face)
    return paint(image, canvas.cover(peak - v), face)


def sun(canvas: Canvas, image: Tensor, distance: Tensor, light: Tensor, *, radius: float) -> Tensor:
    """A disc of light and the brightness around it, which never outshines it."""
    image = paint(image, 0.62 * bell((distance / 0.40).square()), light)
    image = paint(image, 0.55 * bell((distance / 0.16).square()), light)
    return paint(image, canvas.cover(distance - radius, 2.0), 0.55 * light + 0.45)


def clouds(canvas: Canvas, v: Tensor, phase: Tensor, *, low: float, high: float, wind: float = 0.05) -> Tensor:
    """Opacity of drifting clouds between the heights `high` and `low`, flat below and round above."""
    u = canvas.u - wind * canvas.t
    y = 2.6 * v
    swirl = 0.6 * torch.sin(3.1 * u + 2.0 * y + phase)
    field = torch.sin(2.2 * u + swirl + phase) + 0.6 * torch.sin(4.7 * u - 3.1 * y + 1.7 * swirl)
    field = field + 0.35 * torch.sin(9.5 * u + 7.3 * y + phase) + 0.2 * torch.sin(17 * u - 9 * y)
    inside = ((v - high) / 0.15).clamp(0, 1) * ((low - v) / 0.2).clamp(0, 1)
    return ((field + 0.05) * 0.9).clamp(0, 1) * inside


def leaves(canvas: Canvas, u: Tensor, v: Tensor, *, cell: float, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Overlapping round tufts: (opacity, brightness of the tuft), one lattice of them and another between."""
    opacity, bright = torch.zeros(1, device=u.device), torch.zeros(1, device=u.device)
    for shift in (0.0, 0.5):
        x, y = u / cell + shift, v / cell + shift
        i, j = x.floor(), y.floor()
        luck = chance(i, j, seed + shift)
        du, dv = x - i - 0.35 - 0.3 * luck, y - j - 0.35 - 0.3 * (luck * 7.31).frac()
        distance = (du.square() + dv.square()).sqrt() * cell - cell * (0.42 + 0.16 * (luck * 5.7).frac())
        new = canvas.cover(distance, 1.5)
        tone = 0.15 + 0.7 * (luck * 3.3).frac() - 0.55 * (du + 1.5 * dv)
        bright = bright + new * (tone - bright)
        opacity = torch.maximum(opacity, new)
    return opacity, bright
