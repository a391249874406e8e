"""An engine without a model: colour bars, a clock hand that sweeps, a frame counter. For tests and benchmarks.

It draws with numpy alone, and keeps the manners of a real engine: steps of `step_seconds` each, then frames.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from domain.video import Plan, Size
from engines.protocol import Conditions, OnStep, Step

CHUNK = 4  # frames
BARS = ((191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191))
SEGMENTS = (0x77, 0x24, 0x5D, 0x6D, 0x2E, 0x6B, 0x7B, 0x25, 0x7F, 0x6F)  # seven-segment digits: bit per segment


class TestcardEngine:
    """Renders a test card for any plan. The seed turns the bars, so that clips differ; the prompt is ignored."""

    __test__ = False  # not a test, though its name begins like one

    def __init__(self, step_seconds: float = 0.0) -> None:
        self._step_seconds = step_seconds

    @property
    def checkpoint(self) -> str:
        """There are no weights."""
        return ""

    def render(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Iterator[NDArray[np.uint8]]:
        """Yield chunks of frames_THWC; see `engines.protocol.Engine.render`. A first frame opens the clip."""
        for step in range(plan.steps):
            on_step(Step("denoise", step, plan.steps))
            time.sleep(self._step_seconds)
        card_HWC = bars(plan.rendered, plan.seed)
        total = plan.rendered_frames
        for begin in range(0, total, CHUNK):
            numbers = range(begin, min(begin + CHUNK, total))
            chunk_THWC = np.stack([frame(card_HWC, number, plan.rendered_fps) for number in numbers])
            if begin == 0 and conditions.first_frame_HWC is not None:
                chunk_THWC[0] = nearest(conditions.first_frame_HWC, plan.rendered)
            on_step(Step("decode", numbers.stop, total))
            yield chunk_THWC


def bars(size: Size, seed: int) -> NDArray[np.uint8]:
    """Seven colour bars, turned by the seed, over a grey ramp -> card_HWC."""
    column = (np.arange(size.width) * len(BARS) // size.width + seed) % len(BARS)
    card = np.repeat(np.array(BARS, np.uint8)[column][None], size.height, axis=0)
    ramp = np.linspace(0, 255, size.width).astype(np.uint8)
    card[size.height * 3 // 4 :] = ramp[None, :, None]
    return card


def frame(card_HWC: NDArray[np.uint8], number: int, fps: int) -> NDArray[np.uint8]:
    """The card with a clock whose hand turns once in four seconds, and the number of the frame."""
    picture = card_HWC.copy()
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = min(height, width) * 0.28
    down, right = y - height * 0.4, x - width / 2
    distance = np.hypot(down, right)
    turn = np.mod(np.arctan2(right, -down) / (2 * np.pi), 1.0)
    swept = turn < (number / fps / 4) % 1.0
    picture[distance < radius] = (24, 24, 24)
    picture[(distance < radius * 0.9) & swept] = (235, 235, 235)
    write(picture, number)
    return picture


def write(picture_HWC: NDArray[np.uint8], number: int) -> None:
    """Four digits at the lower right, drawn into the picture."""
    height, width = picture_HWC.shape[:2]
    unit = max(1, min(height, width) // 40)
    for place, digit in enumerate(f"{number % 10_000:04d}"):
        left, top = width - (5 - place) * 5 * unit, height - 9 * unit
        picture_HWC[max(0, top - unit) : top + 8 * unit, max(0, left - unit) : left + 4 * unit] = (0, 0, 0)
        for bottom, start, tall, wide in strokes(int(digit)):
            rows = slice(top + bottom * unit, top + (bottom + tall) * unit)
            picture_HWC[rows, left + start * unit : left + (start + wide) * unit] = (255, 255, 255)


def strokes(digit: int) -> list[tuple[int, int, int, int]]:
    """Lit segments of a digit as (top, left, height, width) in units: a digit is 7 high and 3 wide."""
    places = ((0, 0, 1, 3), (0, 0, 4, 1), (0, 2, 4, 1), (3, 0, 1, 3), (3, 0, 4, 1), (3, 2, 4, 1), (6, 0, 1, 3))
    return [place for bit, place in enumerate(places) if SEGMENTS[digit] >> bit & 1]


def nearest(picture_HWC: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A picture at another size, by the nearest pixel."""
    rows = np.arange(size.height) * picture_HWC.shape[0] // size.height
    columns = np.arange(size.width) * picture_HWC.shape[1] // size.width
    return picture_HWC[rows][:, columns, :3]
