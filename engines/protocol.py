"""The seam between the service and whatever draws: load once, render many plans.

Shape suffixes: T frames, H height, W width, C colour channels (RGB).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from domain.video import Plan
from engines.footage import Footage


class Interrupted(Exception):
    """Raised by an `on_step` callback to stop a render; the engine stays usable and lets it pass."""


class Unrenderable(Exception):
    """No further attempt can help. `code` is one of `domain.errors.VIDEO_ERRORS`; the text is for the log alone."""

    def __init__(self, message: str, code: str = "render_failed") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Step:
    """Work that is done: `done` of `total` forwards of the denoiser, or of decoded frames.

    `wait` counts signs of life inside a step, or of somebody else who draws: they are progress, but no part of the
    whole. The same step again says that nothing has happened; it only lets `on_step` interrupt.
    """

    phase: Literal["wait", "denoise", "decode"]
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
    ticket: str = ""  # this attempt's own name: whoever is asked twice under it draws once


@runtime_checkable
class Telling(Protocol):
    """An engine with more to tell about how it renders than the hash of its weights."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Fit for JSON; kept with the attempt, for operators."""
        ...


class Engine(Protocol):
    """A loaded model."""

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the weights in hex; empty for an engine without weights."""
        ...

    def render(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Iterator[NDArray[np.uint8]]:
        """Yield chunks of `frames_THWC` (uint8, plan.rendered), plan.rendered_frames in all.

        `on_step` is called before every forward of the denoiser and after every decoded chunk.
        Same plan, same conditions, same build: same bytes. Raises whatever `on_step` raises, Unrenderable where
        another attempt cannot help, and anything else where it may.
        """
        ...
