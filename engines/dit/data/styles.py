"""Styles: filters over the finished picture. They belong to the screen: grain and paper do not move with the camera.

Shapes: pictures are [B,T,C,H,W], fields [B,T,H,W].
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.data.canvas import Canvas, chance

BARS = 1 / 9  # of the short side: the black bars of a film
PAPER, PENCIL = (0.95, 0.93, 0.88), (0.17, 0.16, 0.18)


def luma(image: Tensor) -> Tensor:
    """Brightness, [B,T,H,W]."""
    return 0.299 * image[:, :, 0] + 0.587 * image[:, :, 1] + 0.114 * image[:, :, 2]


def smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    """0 below `low`, 1 above `high`, smooth between."""
    x = ((x - low) / (high - low)).clamp(0, 1)
    return x * x * (3 - 2 * x)


def vignette(canvas: Canvas, strength: float) -> Tensor:
    """Darker corners, [1,1,H,W]."""
    far = (canvas.screen_u / canvas.half_u).square() + (canvas.screen_v / canvas.half_v).square()
    return 1 - strength * smoothstep(far, 0.45, 2.0)


def soften(image: Tensor, pixels: int) -> Tensor:
    """Mean of a square of 2 * pixels + 1, by sums of shifted pictures: faster than pooling."""
    height, width = image.shape[-2:]
    wide = functional.pad(image.flatten(0, 1), (pixels,) * 4, mode="replicate").unflatten(0, image.shape[:2])
    rows = wide[..., :height, :].clone()
    for shift in range(1, 2 * pixels + 1):
        rows += wide[..., shift : shift + height, :]
    total = rows[..., :width].clone()
    for shift in range(1, 2 * pixels + 1):
        total += rows[..., shift : shift + width]
    return total.mul_(1 / (2 * pixels + 1) ** 2)


def contour(image: Tensor, pixels: int) -> Tensor:
    """How fast colours change across `pixels`, [B,T,H,W]."""
    batch, frames = image.shape[:2]
    flat = functional.pad(image.flatten(0, 1), (pixels,) * 4, mode="replicate")
    inner, wide = slice(pixels, -pixels), 2 * pixels
    across = (flat[:, :, inner, wide:] - flat[:, :, inner, :-wide]).abs_()
    across += (flat[:, :, wide:, inner] - flat[:, :, :-wide, inner]).abs_()
    return (across[:, 0] + across[:, 1] + across[:, 2]).unflatten(0, (batch, frames))


def cinematic(canvas: Canvas, image: Tensor) -> Tensor:
    """Teal shadows, warm lights, deep contrast, dark corners, and the bars of a wide screen."""
    light = luma(image).unsqueeze(2)
    image = image + 0.75 * (image * image * (3 - 2 * image) - image)  # contrast
    shadow = image.new_tensor((-0.035, 0.015, 0.045)).view(1, 1, 3, 1, 1)
    warm = image.new_tensor((0.06, 0.01, -0.06)).view(1, 1, 3, 1, 1)
    image = image + shadow * (1 - light) + warm * light
    image = image * vignette(canvas, 0.45).unsqueeze(2)
    bar = (canvas.half_v - BARS - canvas.screen_v.abs()) / canvas.dot + 0.5
    return image * bar.clamp(0, 1).unsqueeze(2)


def cartoon(canvas: Canvas, image: Tensor) -> Tensor:
    """Few flat tones, full colours, dark outlines."""
    line = max(1, round(0.007 / canvas.dot))
    smooth = soften(image, line)
    light = luma(smooth).unsqueeze(2)
    steps = light * 5
    flat = (steps.floor() + smoothstep(steps - steps.floor(), 0.42, 0.58)) / 5
    colour = light + 1.45 * (smooth - light)
    colour = colour * ((flat + 0.10) / (light + 0.10))
    side = (soften(light, 3 * line) - light).squeeze(2)  # ink lies on the dark side, so that small lights stay
    return colour * (1 - 0.9 * smoothstep(contour(smooth, line), 0.28, 0.62) * smoothstep(side, -0.05, 0.03)).unsqueeze(
        2
    )


def sketch(canvas: Canvas, image: Tensor) -> Tensor:
    """Pencil lines and hatching on paper."""
    line = max(1, round(0.006 / canvas.dot))
    edge = smoothstep(contour(soften(image, 1), line), 0.12, 0.55)
    dark = 1 - soften(luma(image).unsqueeze(2), 1).squeeze(2).clamp(0, 1).sqrt()
    u, v = canvas.screen_u, canvas.screen_v
    hatch = 0.5 + 0.5 * torch.sin(130 * (u + v + 0.02 * torch.sin(5 * u + 3 * v)))
    tooth = grain(canvas, 1.4)
    shading = 0.72 * smoothstep(dark, 0.08, 0.95) * (0.62 + 0.38 * hatch) * (0.85 + 0.30 * tooth)
    strokes = torch.maximum(shading, 0.92 * edge).clamp(0, 1).unsqueeze(2)
    paper = image.new_tensor(PAPER).view(1, 1, 3, 1, 1) * (1 + 0.025 * (grain(canvas, 2.0) - 0.5)).unsqueeze(2)
    return paper + strokes * (image.new_tensor(PENCIL).view(1, 1, 3, 1, 1) - paper)


def noir(canvas: Canvas, image: Tensor) -> Tensor:
    """Black and white, hard contrast, dark corners, and a grain that stands still."""
    light = (
        0.25 * image[:, :, 0] + 0.45 * image[:, :, 1] + 0.30 * image[:, :, 2]
    ) ** 0.75  # film of old saw red as dark
    light = 0.55 * smoothstep(light, 0.03, 1.02) + 0.42 * smoothstep(light, 0.3, 0.8)
    light = light * vignette(canvas, 0.65) + 0.06 * (grain(canvas, 1.5) - 0.5)
    return light.unsqueeze(2).expand(-1, -1, 3, -1, -1)


def grain(canvas: Canvas, size: float) -> Tensor:
    """A random number for each square of `size` pixels of a picture of 144 lines, [1,1,H,W]."""
    cell = size / 144
    return chance((canvas.screen_u / cell).floor(), (canvas.screen_v / cell).floor(), canvas.screen_u.new_zeros(1))


FILTERS: dict[str, Callable[[Canvas, Tensor], Tensor]] = {
    "cinematic": cinematic,
    "cartoon": cartoon,
    "sketch": sketch,
    "noir": noir,
}
