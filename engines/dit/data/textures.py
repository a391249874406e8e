"""Pictures without a meaning, for the autoencoder only: what a user's own photograph may ask of it.

Soft gradients and noise whose amplitude falls with frequency as in photographs; organic regions and "dead leaves" that
hide each other, each with a texture of its own, which give the edges of photographs; small print; film grain. All of it
moves: the camera drifts, turns and zooms a little, and the leaves go their own ways.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.data.canvas import Canvas, chance, paint

TORUS = 256  # samples of a field of noise, which repeats
PERIOD = 1.8  # short sides until it does: 144 lines and 256 samples are about equally fine
FIELDS = 5
LEAVES = 12

Place = tuple[Tensor, Tensor]  # u and v of every pixel, [B,T,H,W] each


def render(canvas: Canvas, batch: int, generator: torch.Generator) -> Tensor:
    """Picture [B,T,C,H,W], not clamped; the generator must live on the canvas's device."""
    place = moved(canvas, batch, generator)
    fields = noise(batch, generator)
    image = backdrop(place, fields, generator)
    image = region(place, image, fields, generator)
    rough = look_up(fields[:, -1:], place, scale=1.9)
    for _ in range(LEAVES):
        image = leaf(canvas, place, image, rough, generator)
    image = printed(canvas, place, image, generator)
    return developed(image, generator)


def _normal(generator: torch.Generator, *shape: int, rank: int = 4) -> Tensor:
    return torch.randn(*shape, *([1] * (rank - len(shape))), generator=generator, device=generator.device)


def _uniform(generator: torch.Generator, *shape: int, rank: int = 4) -> Tensor:
    return torch.rand(*shape, *([1] * (rank - len(shape))), generator=generator, device=generator.device)


def _colour(generator: torch.Generator, batch: int) -> Tensor:
    """Colours [B,1,C,1,1], most of them as pale as those of photographs."""
    grey = _uniform(generator, batch, rank=5)
    vivid = _uniform(generator, batch, rank=5).square()
    return (grey + vivid * 0.7 * (_uniform(generator, batch, 1, 3, rank=5) - 0.5) * 2).clamp(0, 1)


def moved(canvas: Canvas, batch: int, generator: torch.Generator) -> Place:
    """Coordinates [B,T,H,W] seen by a hand-held camera: it drifts, turns and zooms slowly, and starts anywhere."""
    t = canvas.t - canvas.t[:, :1]
    still = (_uniform(generator, batch) < 0.25).float()  # a good part stands still
    speed = 1 - still
    angle = 6.3 * _uniform(generator, batch) * 0.1 + speed * 0.06 * _normal(generator, batch) * t
    scale = torch.exp(0.3 * _normal(generator, batch) + speed * 0.05 * _normal(generator, batch) * t)
    shift_u = 9 * _normal(generator, batch) + speed * 0.08 * _normal(generator, batch) * t
    shift_v = 9 * _normal(generator, batch) + speed * 0.08 * _normal(generator, batch) * t
    u, v = canvas.u * scale, canvas.v * scale
    return torch.cos(angle) * u + torch.sin(angle) * v + shift_u, torch.cos(angle) * v - torch.sin(angle) * u + shift_v


def noise(batch: int, generator: torch.Generator) -> Tensor:
    """Fields [B,N,S,S] of mean 0 and deviation 1 whose amplitude falls with frequency to the power 1.0 to 1.9."""
    across = torch.fft.fftfreq(TORUS, device=generator.device)
    frequency = (across[:, None].square() + across[None, : TORUS // 2 + 1].square()).sqrt().clamp(min=0.5 / TORUS)
    spectrum = torch.randn(batch, FIELDS, TORUS, TORUS // 2 + 1, 2, generator=generator, device=generator.device)
    fall = 1.0 + 0.9 * _uniform(generator, batch, FIELDS)
    waves = torch.view_as_complex(spectrum) * frequency**-fall
    fields = torch.fft.irfft2(waves, s=(TORUS, TORUS))
    return (fields - fields.mean((2, 3), keepdim=True)) / fields.std((2, 3), keepdim=True)


def look_up(fields: Tensor, place: Place, scale: float = 1.0) -> Tensor:
    """Values of the fields [B,N,S,S] at places [B,T,H,W] -> [B,T,N,H,W]; the fields repeat."""
    wrapped = functional.pad(fields, (0, 1, 0, 1), mode="circular")
    share = (torch.stack(place, -1) * (scale / PERIOD)).remainder(1)
    inside = (2 * share * TORUS + 1) / (TORUS + 1) - 1  # sample k of S + 1 lies in the middle of its cell
    batch, frames, height, width = place[0].shape
    found = functional.grid_sample(wrapped, inside.view(batch, frames * height, width, 2), align_corners=False)
    return found.unflatten(2, (frames, height)).transpose(1, 2)


def backdrop(place: Place, fields: Tensor, generator: torch.Generator) -> Tensor:
    """A gradient between two colours, and coloured noise of every scale on it."""
    batch, (u, v) = len(fields), place
    first, second = _colour(generator, batch), _colour(generator, batch)
    angle = 6.3 * _uniform(generator, batch)
    along = (0.5 + 0.5 * torch.sin(1.3 * (torch.cos(angle) * u + torch.sin(angle) * v))).unsqueeze(2)
    seen = look_up(fields[:, :3], place)
    shared = 0.16 * _uniform(generator, batch, rank=5) * seen[:, :, :1]
    own = 0.05 * _uniform(generator, batch, rank=5) * seen
    return first + along * (second - first) + shared + own


def region(place: Place, image: Tensor, fields: Tensor, generator: torch.Generator) -> Tensor:
    """A region with an organic outline, such as foliage, rock or cloud has it, and a texture of its own."""
    batch = len(image)
    seen = look_up(fields[:, 3:], place)
    level = 0.2 + 0.8 * _normal(generator, batch)
    sharp = 4 + 40 * _uniform(generator, batch).square()  # from mist to rock
    opacity = ((seen[:, :, 0] - level) * sharp).clamp(0, 1)
    tint = _colour(generator, batch) + 0.22 * _uniform(generator, batch, rank=5) * seen[:, :, 1:]
    return paint(image, opacity, tint)


def _first(place: Tensor) -> Tensor:
    """Where the middle of the first frame's board is: the scene is laid out around it."""
    return place[:, :1].mean((2, 3), keepdim=True)


def leaf(canvas: Canvas, place: Place, image: Tensor, rough: Tensor, generator: torch.Generator) -> Tensor:
    """One opaque disc, box or stroke of random place, size and colour, with shading and texture, going its own way."""
    batch, (u, v) = len(image), place
    t = canvas.t - canvas.t[:, :1]
    own = (_uniform(generator, batch) < 0.4).float() * 0.15  # some move by themselves
    x = 0.6 * canvas.half_u * _normal(generator, batch) + own * _normal(generator, batch) * t
    y = 0.6 * canvas.half_v * _normal(generator, batch) + own * _normal(generator, batch) * t
    size = 0.015 + 0.28 * _uniform(generator, batch).square()
    stretch = torch.exp(0.6 * _normal(generator, batch))
    angle = 6.3 * _uniform(generator, batch)
    du, dv = u - _first(u) - x, v - _first(v) - y
    du, dv = torch.cos(angle) * du + torch.sin(angle) * dv, torch.cos(angle) * dv - torch.sin(angle) * du
    a, b = du.abs() / stretch, dv.abs() * stretch
    boxy = (_uniform(generator, batch) < 0.4).float()
    distance = torch.where(boxy > 0, torch.maximum(a, b), (a.square() + b.square()).sqrt()) - size
    blur = torch.exp(2.2 * _uniform(generator, batch).square())  # depth of field
    slope = (_normal(generator, batch) * du + _normal(generator, batch) * dv) / size
    tint = _colour(generator, batch) * (1 + 0.25 * slope.clamp(-2, 2)).unsqueeze(2)
    return paint(image, canvas.cover(distance / blur), tint + 0.2 * _uniform(generator, batch, rank=5) * rough)


def printed(canvas: Canvas, place: Place, image: Tensor, generator: torch.Generator) -> Tensor:
    """In a third of the pictures: a plate with lines of small print, in signs that nobody can read."""
    batch, (u, v) = len(image), place
    shown = (_uniform(generator, batch) < 0.33).float()
    stroke = 0.009 + 0.03 * _uniform(generator, batch).square()
    du = u - _first(u) - 0.4 * canvas.half_u * _normal(generator, batch)
    dv = v - _first(v) - 0.4 * canvas.half_v * _normal(generator, batch)
    wide, tall = 0.15 + 0.5 * _uniform(generator, batch), 0.06 + 0.3 * _uniform(generator, batch)
    paper, ink = _uniform(generator, batch, 1, 3, rank=5), _uniform(generator, batch, 1, 3, rank=5)
    light = (paper.mean(2, keepdim=True) > ink.mean(2, keepdim=True)).float()
    paper, ink = paper + (light - paper) * 0.6, ink + (1 - light - ink) * 0.6
    seed = 9 * _uniform(generator, batch)
    column, row = (du / stroke).floor(), (dv / stroke).floor()
    sign, line = (column / 4).floor(), (row / 7).floor()
    written = (column - 4 * sign < 3) & (row - 7 * line < 5) & (chance(column, row, seed) > 0.42)
    written &= chance(sign, line, seed + 3) > 0.2  # the others are gaps between words
    a, b = (du / stroke - column - 0.5).abs(), (dv / stroke - row - 0.5).abs()
    plate = torch.maximum(du.abs() - wide, dv.abs() - tall)
    image = paint(image, canvas.cover(plate) * shown, paper)
    strokes = canvas.cover((torch.maximum(a, b) - 0.55) * stroke) * written * canvas.cover(plate + 0.03)
    return paint(image, strokes * shown, ink)


def developed(image: Tensor, generator: torch.Generator) -> Tensor:
    """Exposure, contrast, and grain: of a scan (it stands still) and of film (each frame its own)."""
    batch, frames, _, height, width = image.shape
    contrast = 0.6 + 0.7 * _uniform(generator, batch, rank=5)
    image = (image - 0.5) * contrast + 0.5 + 0.08 * _normal(generator, batch, rank=5)
    device = generator.device
    scan = torch.randn(batch, 1, 3, height, width, generator=generator, device=device)
    film = torch.randn(batch, frames, 1, height, width, generator=generator, device=device)
    strength = _uniform(generator, batch, 2, rank=5).square()[..., None]
    return image + 0.05 * strength[:, :1, ..., 0] * scan + 0.03 * strength[:, 1:, ..., 0] * film


def cut(video_BTCHW: Tensor, generator: torch.Generator, odds: float = 0.2) -> Tensor:
    """Some clips end with another clip of the batch: two shots joined by a cut after a frame of its own."""
    batch, frames = video_BTCHW.shape[:2]
    device = video_BTCHW.device
    at = torch.randint(1, max(2, frames), (batch, 1), generator=generator, device=generator.device).to(device)
    chosen = (torch.rand(batch, 1, generator=generator, device=generator.device) < odds).to(device)
    later = (torch.arange(frames, device=device) >= at) & chosen
    return torch.where(later[:, :, None, None, None], video_BTCHW.roll(1, 0), video_BTCHW)
