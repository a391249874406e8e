"""How cameras move: at one speed at first, then they ease out, so that their subject stays in view.

The renderer films so. The denoiser, which is told how the camera moves, measures places in the scene that the camera
shows and not on the screen: what stands still in the scene then stands still for its attention, too.

Lengths are in short sides of a picture. Legend: L latent frames, V numbers of a view.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import torch
from torch import Tensor

PAN, ZOOM = 0.12, 0.10  # the fastest at first: lengths a second, and the logarithm of the scale a second
REST = 6.0  # seconds: in the end a zoom is what so many seconds at its first speed would give
REACH = 0.55  # of half the width or height: no camera pans farther
VIEW = 2  # numbers: how far to the right it looks, and the logarithm of how much larger things are

Way = tuple[float, float]  # pan to the right and zoom into the picture, in parts of the fastest


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
