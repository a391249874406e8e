"""Pictures without a meaning, for the autoencoder only: what a user's own first frame may look like.

Gradients, clouds of every scale (amplitudes fall with frequency as in photographs), and "dead leaves": opaque discs
and boxes that hide each other, which have the edge statistics of photographs. They drift slowly.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor

from engines.dit.data.canvas import Canvas, paint


def render(canvas: Canvas, batch: int, generator: torch.Generator) -> Tensor:
    """Picture [B,T,C,H,W]."""
    drift_u = _normal(generator, batch) * 0.05 * canvas.t
    drift_v = _normal(generator, batch) * 0.05 * canvas.t
    u, v = canvas.u + drift_u, canvas.v + drift_v
    image = clouds(u, v, batch, generator)
    image = leaves(canvas, u, v, image, generator)
    contrast = 0.5 + torch.rand(batch, 1, 1, 1, 1, generator=generator)
    grain = (
        torch.randn(batch, 1, 3, *image.shape[-2:], generator=generator)
        * 0.04
        * torch.rand(batch, 1, 1, 1, 1, generator=generator)
    )
    return (image - 0.5) * contrast + 0.5 + grain


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, *([1] * (4 - len(shape))), generator=generator)


def clouds(u: Tensor, v: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """A sum of waves in random directions; each colour has its own mixture."""
    base = torch.rand(batch, 1, 3, 1, 1, generator=generator)
    image = base + 0 * (u + v).unsqueeze(2)
    for octave in range(7):
        frequency = 1.6 * 1.75**octave
        angle, phase = _normal(generator, batch) * 3, _normal(generator, batch) * 3
        bend = 0.7 * torch.sin(frequency * 0.7 * (u - v) + phase * 2)
        wave = torch.sin(frequency * (torch.cos(angle) * u + torch.sin(angle) * v) + phase + bend)
        tint = (
            torch.randn(batch, 1, 3, 1, 1, generator=generator) * 0.18
            + torch.randn(batch, 1, 1, 1, 1, generator=generator) * 0.18
        )
        image = image + wave.unsqueeze(2) * tint / (1 + 0.5 * octave)
    return image


def leaves(canvas: Canvas, u: Tensor, v: Tensor, image: Tensor, generator: torch.Generator) -> Tensor:
    """Opaque shapes of random place, size and colour, with a little texture of their own."""
    batch = len(image)
    for _ in range(7):
        x, y = (
            _normal(generator, batch) * 0.45 * canvas.half_u * 1.4,
            _normal(generator, batch) * 0.45 * canvas.half_v * 1.4,
        )
        size = 0.03 + 0.25 * torch.rand(batch, 1, 1, 1, generator=generator).square()
        aspect = 0.5 + torch.rand(batch, 1, 1, 1, generator=generator)
        du, dv = (u - x).abs() / aspect, (v - y).abs() * aspect
        boxy = (torch.rand(batch, 1, 1, 1, generator=generator) < 0.4).float()
        distance = boxy * torch.maximum(du, dv) + (1 - boxy) * (du.square() + dv.square()).sqrt() - size
        tint = torch.rand(batch, 1, 3, 1, 1, generator=generator)
        slope = (1 + 0.6 * _normal(generator, batch) * (v - y) / size * 0.3).unsqueeze(2)
        image = paint(image, canvas.cover(distance), tint * slope)
    return image
