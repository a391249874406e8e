"""The drawing board: coordinates, soft edges, colours, and fields that every scene shares.

Everything is batched, procedural and free of resolution: lengths are in units of the short side of the picture, and
(0, 0) is its centre. Shape suffixes: B clips, T frames, H height, W width, C = 3 colours in [0, 1].
A scalar of a clip is [B,1,1,1]; a colour of a clip is [B,1,C,1,1]; a field is [B|1,T|1,H|1,W|1].
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engines.dit import camera

Params = dict[str, Tensor]
Values = dict[str, float | tuple[float, float, float]]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where and when to draw: scene coordinates of the pixels in short sides, scene seconds of the frames.

    A board that no camera moves has one set of coordinates for all clips and frames; see `filmed`.
    """

    u: Tensor  # [B|1,T|1,1,W], left to right
    v: Tensor  # [B|1,T|1,H,1], top to bottom
    t: Tensor  # [B|1,T,1,1], seconds of the scene
    half_u: float  # the scene's own frame: half its width and height, wherever the camera is
    half_v: float
    pixel: Tensor | float  # one pixel in the scene
    screen_u: Tensor  # [1,1,1,W], the same place on the screen, wherever the camera is
    screen_v: Tensor  # [1,1,H,1]
    dot: float  # one pixel on the screen

    @classmethod
    def at(cls, times_T: Tensor, height: int, width: int, device: torch.device | str | None = None) -> Canvas:
        """A board for frames at any `times_T` (seconds from the start of the scene, 0 to 60)."""
        short = min(height, width)
        u = camera.centred(width, short).view(1, 1, 1, -1).to(device)
        v = camera.centred(height, short).view(1, 1, -1, 1).to(device)
        t = times_T.to(device, torch.float32).view(1, -1, 1, 1)
        return cls(u, v, t, width / short / 2, height / short / 2, 1 / short, u, v, 1 / short)

    def crop(self, top: int, left: int, height: int, width: int) -> Canvas:
        """A window of the board; the scene stays where it is."""
        across, down = slice(left, left + width), slice(top, top + height)
        return replace(
            self,
            u=self.u[..., across],
            v=self.v[..., down, :],
            screen_u=self.screen_u[..., across],
            screen_v=self.screen_v[..., down, :],
        )

    def filmed(self, p: Params) -> Canvas:
        """The board of clips whose cameras pan (`pan_u`, `pan_v`) and zoom, at their own `pace`, [B,1,1,1] each."""
        scale = torch.exp(-camera.zoomed(p["zoom"], self.t))
        return replace(
            self,
            u=self.screen_u * scale + camera.panned(p["pan_u"], self.t, self.half_u),
            v=self.screen_v * scale + camera.panned(p["pan_v"], self.t, self.half_v),
            t=self.t * p["pace"],
            pixel=self.dot * scale,
        )

    def paced(self, p: Params) -> Canvas:
        """The same for cameras that stand still: layers that do not move are drawn once for all frames."""
        return replace(self, t=self.t * p["pace"])

    def moments(self, first: int, count: int) -> Canvas:
        """Some frames of a board that was not filmed yet."""
        return replace(self, t=self.t[:, first : first + count])

    def lens(
        self, left: Tensor | float = -99.0, right: Tensor | float = 99.0,
        top: Tensor | float = -99.0, bottom: Tensor | float = 99.0,
    ) -> tuple[Canvas, slice, slice]:  # fmt: skip
        """The part of the board that shows a box of the scene in any frame, and its rows and columns.

        For things that fill only a part of the picture.
        """
        rows = _span((self.v > top) & (self.v < bottom), 2)
        columns = _span((self.u > left) & (self.u < right), 3)
        part = self.crop(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
        return part, rows, columns

    def inset(self, image: Tensor, part: Tensor, rows: slice, columns: slice) -> Tensor:
        """The image with a part drawn anew; the image is used up."""
        shape = *part.shape[:2], 3, self.v.shape[2], self.u.shape[3]
        image = image if image.shape == shape else image.expand(shape).clone()
        image[..., rows, columns] = part
        return image

    def outset(self, mask: Tensor, rows: slice, columns: slice) -> Tensor:
        """The mask of a part as one of the whole board."""
        whole = mask.new_zeros(*mask.shape[:2], self.v.shape[2], self.u.shape[3])
        whole[..., rows, columns] = mask
        return whole

    def cover(self, distance: Tensor, softness: float = 1.0) -> Tensor:
        """Antialiased opacity of a shape from its signed distance (negative inside)."""
        return (0.5 - distance * (1 / (self.pixel * softness))).clamp(0, 1)


def _span(seen: Tensor, dim: int) -> slice:
    """From the first to the last place along `dim` where anything is seen; one place if nothing is."""
    places = seen.movedim(dim, 0).flatten(1).any(1).nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 1)


def some(strength: Tensor) -> bool:
    """Whether any clip shows a thing at all; what none shows is not computed."""
    return bool((strength != 0).any())


def bell(square: Tensor) -> Tensor:
    """exp(-square), without the numbers so small that processors slow down."""
    return torch.exp(-square.clamp(max=30))


def cut(image: Tensor, rows: slice, columns: slice) -> Tensor:
    """A part of an image, which may be the same in all rows or columns."""
    tall, wide = image.shape[-2:]
    return image[..., rows if tall > 1 else slice(None), columns if wide > 1 else slice(None)]


def stack(values: Sequence[Values], device: torch.device | None = None) -> Params:
    """Parameters of single clips -> tensors of a batch."""
    first = values[0]
    return {
        name: torch.tensor([value[name] for value in values], dtype=torch.float32, device=device).view(
            (-1, 1, 3, 1, 1) if isinstance(first[name], tuple) else (-1, 1, 1, 1)
        )
        for name in first
    }


def paint(image: Tensor, opacity: Tensor, colour: Tensor) -> Tensor:
    """Lay a colour [B,1,C,1,1] (or a picture [B,T,C,H,W]) over the image where `opacity` [B,T,H,W] says so."""
    return torch.lerp(image, colour, opacity.unsqueeze(2))  # one pass over memory


def glow(image: Tensor, strength: Tensor, colour: Tensor) -> Tensor:
    """Add light."""
    return torch.addcmul(image, strength.unsqueeze(2), colour)


def gradient(position: Tensor, top: Tensor, middle: Tensor, bottom: Tensor) -> Tensor:
    """Three colours from position 0 over 0.5 to 1 -> picture."""
    upper = (position * 2).clamp(0, 1).unsqueeze(2)
    lower = (position * 2 - 1).clamp(0, 1).unsqueeze(2)
    return torch.addcmul(torch.addcmul(top, upper, middle - top), lower, bottom - middle)


def disc(canvas: Canvas, x: Tensor, y: Tensor | float) -> Tensor:
    """Distance of every pixel from a point."""
    return ((canvas.u - x).square() + (canvas.v - y).square()).sqrt()


def segment(u: Tensor, v: Tensor, a: tuple[float, float], b: tuple[float, float], radius: float) -> Tensor:
    """Signed distance from a capsule between two points."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = (((u - a[0]) * dx + (v - a[1]) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return ((u - a[0] - along * dx).square() + (v - a[1] - along * dy).square()).sqrt() - radius


def chance(i: Tensor, j: Tensor, seed: Tensor) -> Tensor:
    """A pseudo-random number in [0, 1) for each lattice cell."""
    return (torch.sin(i * 127.1 + j * 311.7 + seed * 74.7) * 43758.5453).frac().abs()


def specks(canvas: Canvas, u: Tensor, v: Tensor, *, cell: float, radius: float, seed: Tensor) -> tuple[Tensor, Tensor]:
    """One soft dot in each lattice cell -> (opacity, the dot's own random number)."""
    i, j = (u / cell).floor(), (v / cell).floor()
    luck = chance(i, j, seed)
    x = (i + 0.25 + 0.5 * luck) * cell
    y = (j + 0.25 + 0.5 * (luck * 7.31).frac()) * cell
    distance = ((u - x).square() + (v - y).square()).sqrt()
    return canvas.cover(distance - radius, 1.6), (luck * 13.7).frac()


def ridge(u: Tensor, phase: Tensor, rough: Tensor) -> Tensor:
    """Outline of a mountain range in [0, 1] along u."""
    large = 1 - torch.sin(2.3 * u + phase).abs()
    small = 1 - torch.sin(5.1 * u + 2.7 * phase).abs()
    return 0.68 * large + (0.12 + 0.2 * rough) * small


def hills(u: Tensor, phase: Tensor) -> Tensor:
    """Outline of soft hills in [-1, 1]."""
    return 0.65 * torch.sin(2.1 * u + phase) + 0.35 * torch.sin(4.3 * u + 1.9 * phase)


def conifer(
    u: Tensor, v: Tensor, x: Tensor, foot: Tensor, *, height: Tensor | float, lean: Tensor | float = 0.0
) -> Tensor:
    """Signed distance from a fir tree with three tiers; `lean` shears its top sideways."""
    up = (foot - v) / height
    side = (u - x - lean * up.clamp(0, 1).square() * height).abs() / height
    tier = (up * 3).floor().clamp(0, 2)
    inside = side - (0.30 - 0.075 * tier) * (1 - (up * 3 - tier) * (0.45 + 0.275 * tier))
    return torch.maximum(torch.maximum(inside, up - 1), -up) * height


def stars(canvas: Canvas, seed: Tensor, fade: Tensor | float = 1.0) -> Tensor:
    """Twinkling points of light."""
    dots, luck = specks(canvas, canvas.u, canvas.v, cell=0.15, radius=0.007, seed=seed)
    twinkle = 0.55 + 0.45 * torch.sin(canvas.t * (2 + 3 * luck) + luck * 2 * math.pi)
    return dots * twinkle * fade * (0.4 + 0.6 * luck)
