"""What steers a window besides its prompt: what is known of it, where it stands in time, and a few numbers.

Every task is a mask. Text to video knows nothing; a first frame, the end of a source, pictures at chosen moments or a
region that stays are latents that are known. A picture by itself (a clip's first frame, a keyframe, an anchor, a
reference) is a latent frame of its own with its own moment, inside the window or outside; it is appended to the
window's latent frames.

Legend: B clips, L latent frames, Z latent channels, h w latent positions, C numbers that steer, V numbers of a view.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from engines.dit.camera import VIEW, Way

PACE = 4  # frames of a latent frame
FPS = 12.0  # the rate that the numbers are relative to
STYLES = ("cinematic", "cartoon", "sketch", "noir")
STYLED = slice(3, 3 + len(STYLES))  # of the numbers that steer
CONTROLS = STYLED.stop + 2
HURRIED = 2  # more of them for a distilled model
STRONGEST = 6.0  # guidance that a distilled model is taught; less than 1 is none


@dataclass(frozen=True, slots=True)
class Window:
    """What is known of the latent frames that are denoised together.

    `known` is zero and `mask` 0 where nothing is known. `at` counts latent frames of four frames; `still` is 1 where a
    latent frame is one picture by itself. `view` is what the camera shows at each latent frame (see `camera.views`).
    """

    known_BLZhw: Tensor
    mask_BLhw: Tensor
    at_BL: Tensor
    still_BL: Tensor
    controls_BC: Tensor
    view_BLV: Tensor

    @classmethod
    def of(cls, shape_LZhw: Sequence[int], controls_C: Tensor, *, start: float = 0.0) -> Window:
        """One window of which nothing is known. It begins a clip (`start` 0) or goes on with one."""
        length, channels, height, width = shape_LZhw
        at_L = torch.arange(length) + float(start)
        return cls(
            torch.zeros(1, length, channels, height, width),
            torch.zeros(1, length, height, width),
            at_L[None],
            (at_L == 0).float()[None],
            controls_C[None],
            torch.zeros(1, length, VIEW),
        )

    @property
    def films(self) -> bool:
        """Whether the camera moves."""
        return bool((self.view_BLV != self.view_BLV[:, :1]).any())

    def know(self, index: int, latent_Zhw: Tensor) -> Window:
        """The same window with one latent frame known as a whole."""
        known, mask = self.known_BLZhw.clone(), self.mask_BLhw.clone()
        known[:, index], mask[:, index] = latent_Zhw, 1.0
        return replace(self, known_BLZhw=known, mask_BLhw=mask)

    def append(self, latent_Zhw: Tensor, at: float, view_V: Tensor | None = None) -> Window:
        """The same window with a known picture behind its latent frames, which stands at the moment `at`."""
        count = len(self.at_BL)
        latent = latent_Zhw.expand(count, 1, *latent_Zhw.shape[-3:])
        one = torch.ones(count, 1)
        view_BLV = (torch.zeros(VIEW) if view_V is None else view_V).expand(count, 1, -1)
        return replace(
            self,
            known_BLZhw=torch.cat([self.known_BLZhw, latent], 1),
            mask_BLhw=torch.cat([self.mask_BLhw, one[..., None, None].expand(-1, -1, *latent.shape[-2:])], 1),
            at_BL=torch.cat([self.at_BL, one * at], 1),
            still_BL=torch.cat([self.still_BL, one], 1),
            view_BLV=torch.cat([self.view_BLV, view_BLV], 1),
        )

    def kept(self, latents_BLZhw: Tensor) -> Tensor:
        """Latents, known ones as they are known."""
        return torch.where(self.mask_BLhw.unsqueeze(2) > 0, self.known_BLZhw, latents_BLZhw)

    def repeat(self, count: int) -> Window:
        """The window `count` times, as a batch."""
        return self._each(lambda part: part.repeat(count, *[1] * (part.ndim - 1)))

    def and_plain(self) -> Window:
        """The window twice, the second time without its styles: what guidance leads away from."""
        plain_BC = self.controls_BC.clone()
        plain_BC[:, STYLED] = 0
        return replace(self.repeat(2), controls_BC=torch.cat([self.controls_BC, plain_BC]))

    def to(self, device: torch.device | str) -> Window:
        """The window on a device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Window:
        return Window(*(change(getattr(self, part.name)) for part in fields(self)))


def moment(frame: float) -> float:
    """Where the picture of a frame stands, in latent frames: just at the end of the latent frame that holds it."""
    return 0.0 if frame <= 0 else (frame + PACE - 1) / PACE


def hurried(window: Window, guidance_B: Tensor, stride_B: Tensor) -> Window:
    """The window for a distilled model: guidance (log scale) and stride (of the noise's way) are two more numbers.

    Without them, which is the same as guidance 1 and stride 0, it answers as the model that it was made from.
    """
    told_BC = torch.stack([torch.log2(guidance_B) / 2, 4 * stride_B], 1)
    return replace(window, controls_BC=torch.cat([window.controls_BC, told_BC.to(window.controls_BC)], 1))


def controls(
    fps: float, motion: float | None = None, style: str = "", camera: Way = (0.0, 0.0), *, emphasis: float = 1.0
) -> Tensor:
    """The numbers that steer -> controls_C: rate (log scale), motion intensity if it is said, style if one is named.

    `camera`: its pan to the right and its zoom into the picture, from -1 to 1, as fast as any in training. `emphasis`:
    how strongly the style is told, 1 in training.
    """
    said = [math.log2(fps / FPS) / 2, 0.0 if motion is None else 2 * motion - 1, float(motion is not None)]
    return torch.tensor([*said, *(emphasis * (style == name) for name in STYLES), *camera])
