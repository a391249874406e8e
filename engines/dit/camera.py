"""How cameras move: at one speed at first, then they ease out, so that their subject stays in view.

The renderer films so. The denoiser, which is told how the camera moves, measures places in the scene that the camera
shows and not on the screen: what stands still in the scene then stands still for its attention, too.

Lengths are in short sides of a picture. Legend: L latent frames, V numbers of a view, Z latent channels, h w latent
positions.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PAN, ZOOM = 0.12, 0.10  # the fastest at first: lengths a second, and the logarithm of the scale a second
REST = 6.0  # seconds: in the end a zoom is what so many seconds at its first speed would give
REACH = 0.55  # of half the width or height: no camera pans farther
NEARBY = 2.0  # latent frames: how far away in time others still have a say
VIEW = 2  # numbers: how far to the right it looks, and the logarithm of how much larger things are

Way = tuple[float, float]  # pan to the right and zoom into the picture, in parts of the fastest


def centred(length: int, short: int) -> Tensor:
    """The middles of so many positions in a row, seen from the centre of a picture of `short` positions."""
    return (torch.arange(length, dtype=torch.float32) + 0.5 - length / 2) / short


def panned(speed: Tensor | float, seconds: Tensor, half: float) -> Tensor:
    """How far a camera has panned along a side of twice the length `half`."""
    reach = REACH * half
    return reach * torch.tanh(speed * seconds / reach)


def zoomed(speed: Tensor | float, seconds: Tensor) -> Tensor:
    """How much larger things have become, as a logarithm."""
    return speed * REST * torch.tanh(seconds / REST)


def views(way: Way, seconds_L: Tensor, half_width: float) -> Tensor:
    """What a camera shows at some moments -> view_LV. Before the clip begins, it stands."""
    seconds_L = seconds_L.clamp(min=0)
    return torch.stack([panned(way[0] * PAN, seconds_L, half_width), zoomed(way[1] * ZOOM, seconds_L)], -1)


def agreed(guess_LZhw: Tensor, view_LV: Tensor, at_L: Tensor) -> Tensor:
    """Guesses of latent frames that agree about the scene: at each place the mean of what all say that show it.

    As paths of diffusion are fused where pictures overlap (MultiDiffusion, Bar-Tal et al. 2023): a moving camera shows
    overlapping pictures of one scene. Frames near in time count more, for much in a scene moves, too.
    """
    length, _, height, width = guess_LZhw.shape
    short = min(height, width)
    x, y = (centred(side, short).to(guess_LZhw) for side in (width, height))
    pan_L11, zoom_L11 = view_LV.to(guess_LZhw)[:, :, None, None].unbind(1)
    fused = []
    for index in range(length):
        larger_L11 = torch.exp(zoom_L11 - zoom_L11[index])
        there_x = x * larger_L11 + (pan_L11[index] - pan_L11) * torch.exp(zoom_L11)
        there_y = y[:, None] * larger_L11
        grid = torch.stack(torch.broadcast_tensors(there_x * (2 * short / width), there_y * (2 * short / height)), -1)
        said_LZhw = functional.grid_sample(guess_LZhw, grid, padding_mode="border", align_corners=False)
        weight_L1hw = (grid.abs().amax(-1) <= 1).float()[:, None]
        weight_L1hw = weight_L1hw * torch.exp(-(at_L - at_L[index]).abs() / NEARBY).view(-1, 1, 1, 1)
        fused.append((said_LZhw * weight_L1hw).sum(0) / weight_L1hw.sum(0))
    return torch.stack(fused)
