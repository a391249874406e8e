"""The seam between the service and whatever draws: load once, render many plans.

Shape suffixes: T frames, H height, W width, C colour channels (RGB).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.video import Plan
from engines.footage import Footage


class Interrupted(Exception):
    """Raised by an `on_step` callback to stop a render; the engine stays usable and lets it pass."""


@dataclass(frozen=True, slots=True)
class Step:
    """Work that is done: `done` of `total` forwards of the denoiser, or of decoded frames."""

    phase: Literal["denoise", "decode"]
    done: int
    total: int


OnStep = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Pixels that steer a render, where the plan names them. Pictures are uint8 RGB of any size; the engine fits them.

    `keyframes` are (second, picture) in the plan's order; `references` has one entry a shot, None for a shot without.
    """

    first_frame_HWC: NDArray[np.uint8] | None = None
    last_frame_HWC: NDArray[np.uint8] | None = None
    keyframes: tuple[tuple[float, NDArray[np.uint8]], ...] = ()
    mask_HW: NDArray[np.uint8] | None = None  # 255 is repainted, 0 is kept
    references: tuple[NDArray[np.uint8] | None, ...] = ()
    source: Footage | None = None  # what is edited, extended or remixed
    characters: tuple[Footage, ...] = ()


class Engine(Protocol):
    """A loaded model."""

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the weights in hex; empty for an engine without weights."""
        ...

    def render(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Iterator[NDArray[np.uint8]]:
        """Yield chunks of `frames_THWC` (uint8, plan.rendered), plan.rendered_frames in all.

        `on_step` is called before every forward of the denoiser and after every decoded chunk.
        Same plan, same conditions, same build: same bytes. Raises whatever `on_step` raises.
        """
        ...
