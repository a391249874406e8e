"""Outlines of the shapes as signed distances: negative inside. `u` and `v` are seen from the centre of the shape."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

FEET = (1.0, 0.88, 0.85, 0.95, 1.05, 1.15, 1.0)  # how far each reaches below its centre, in its size


def ball(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """A disc."""
    return (u.square() + v.square()).sqrt() - size


def square(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """A square."""
    return torch.maximum(u.abs(), v.abs()) - size * 0.88


def triangle(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """A triangle that stands on its base."""
    return torch.maximum(u.abs() * 0.9 - v * 0.45 - size * 0.45, v - size * 0.85)


def star(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """Five points: the plane folded into one tenth, and one straight edge there."""
    tenth, outer, inner = math.pi / 5, 1.18, 0.56
    angle = (torch.remainder(torch.atan2(u, -v) + tenth, 2 * tenth) - tenth).abs()
    radius = (u.square() + v.square()).sqrt()
    edge_x, edge_y = inner * math.cos(tenth) - outer, inner * math.sin(tenth)
    length = math.hypot(edge_x, edge_y)
    x, y = radius * torch.cos(angle) - outer * size, radius * torch.sin(angle)
    return (x * edge_y - y * edge_x) / length


def ring(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """A hoop."""
    return ((u.square() + v.square()).sqrt() - 0.80 * size).abs() - 0.25 * size


def diamond(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """A rhombus, higher than wide."""
    wide, tall = 0.80, 1.15
    return (u.abs() * tall + v.abs() * wide - wide * tall * size) / math.hypot(wide, tall)


def heart(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """Two discs, and the wedge of their tangents from the tip below."""
    x, y = u.abs() / size, v / size
    disc = ((x - 0.48).square() + (y + 0.32).square()).sqrt() - 0.55
    tangent = 0.7309 * x + 0.6825 * (y - 1.0)
    below = 0.6825 * (x - 0.48) - 0.7309 * (y + 0.32)
    wedge = torch.maximum(torch.maximum(tangent, below), -y - 0.45)
    return torch.minimum(disc, wedge) * size


KINDS: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (ball, square, triangle, star, ring, diamond, heart)


def outline(kind: Tensor, u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """Signed distance from the shape of each clip; only the kinds that occur are computed."""
    distance = torch.zeros(1)
    for index, shape in enumerate(KINDS):
        if (kind == index).any():
            distance = torch.where(kind == index, shape(u, v, size), distance)
    return distance
