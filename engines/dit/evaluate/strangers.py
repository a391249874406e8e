"""Pictures from outside the model's world, as a user's own first frame would be."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor

from domain.video import Size


def picture(seed: int, size: Size) -> Tensor:
    """One of three kinds with the statistics of photographs: picture_CHW in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    kind = (landscape, mosaic, portrait)[seed % 3]
    return kind(generator, size.height, size.width).clamp(0, 1)


def clouds(generator: torch.Generator, height: int, width: int, fall: float) -> Tensor:
    """Noise whose amplitude falls with frequency, as in photographs: [H,W] in [0, 1]."""
    rows, columns = torch.fft.fftfreq(height)[:, None] * height, torch.fft.rfftfreq(width)[None] * width
    white = torch.fft.rfft2(torch.randn(height, width, generator=generator))
    field = torch.fft.irfft2(white / (1 + rows.square() + columns.square()).pow(fall / 2), s=(height, width))
    low, high = field.flatten().quantile(torch.tensor([0.02, 0.98]))
    return ((field - low) / (high - low)).clamp(0, 1)


def tinted(generator: torch.Generator, level_HW: Tensor, tones: int = 4) -> Tensor:
    """A ramp of random colours, dark to bright, laid over a field: [C,H,W]."""
    ramp = torch.rand(tones, 3, generator=generator) * 0.6 + torch.linspace(0, 0.4, tones)[:, None]
    place = level_HW * (tones - 1)
    below = place.floor().clamp(0, tones - 2).long()
    part = (place - below)[..., None]
    return (ramp[below] * (1 - part) + ramp[below + 1] * part).permute(2, 0, 1)


def landscape(generator: torch.Generator, height: int, width: int) -> Tensor:
    """Soft sky over rough land with grain."""
    sky = tinted(generator, clouds(generator, height, width, 2.2))
    land = tinted(generator, clouds(generator, height, width, 1.3))
    skyline = height * (0.35 + 0.3 * clouds(generator, 1, width, 1.6)[0])
    below = (torch.arange(height)[:, None] > skyline).float()
    return sky + below * (land - sky) + 0.015 * torch.randn(3, height, width, generator=generator)


def mosaic(generator: torch.Generator, height: int, width: int) -> Tensor:
    """Cells around random points, each of its own colour with a soft texture: stones, roofs, leaves."""
    points, count = torch.rand(40, 2, generator=generator), 40
    v, u = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / height, indexing="ij")
    far = (u[..., None] - points[:, 0] * width / height).square() + (v[..., None] - points[:, 1]).square()
    near = far.topk(2, largest=False)
    colours = torch.rand(count, 3, generator=generator)[near.indices[..., 0]].permute(2, 0, 1)
    gap = (near.values[..., 1].sqrt() - near.values[..., 0].sqrt()).clamp(0, 0.02) / 0.02
    return colours * (0.35 + 0.65 * gap) * (0.75 + 0.5 * clouds(generator, height, width, 1.4))


def portrait(generator: torch.Generator, height: int, width: int) -> Tensor:
    """A lit oval before a blurred ground, with stripes and dots: a sharp subject with shallow focus."""
    ground = tinted(generator, clouds(generator, height, width, 2.6))
    v, u = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    oval = ((u / 0.35).square() + ((v - 0.1) / 0.8).square()).sqrt()
    skin = torch.rand(3, 1, 1, generator=generator) * 0.5 + 0.4
    light = (1.1 - 0.5 * (u - 0.2) - 0.3 * v).clamp(0.3, 1.2) * (0.85 + 0.3 * clouds(generator, height, width, 1.5))
    stripes = 0.9 + 0.1 * torch.sign(torch.sin(40 * v + 4 * u))
    inside = (1 - (oval - 1) * 12).clamp(0, 1)
    return ground + inside * (skin * light * stripes - ground)
