"""An engine without a model: colour bars, a clock hand that sweeps, a frame counter. For tests and benchmarks.

It draws with numpy alone, and keeps the manners of a real engine: steps of `step_seconds` each, then frames. Every
condition and every parameter but the texts of prompts leaves a mark that can be seen and measured.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from domain.video import Lora, Operation, Plan, Size
from engines.protocol import Conditions, OnStep, Step

CHUNK = 4  # frames
BARS = ((191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191))
SEGMENTS = (0x77, 0x24, 0x5D, 0x6D, 0x2E, 0x6B, 0x7B, 0x25, 0x7F, 0x6F)  # seven-segment digits: bit per segment
USUAL_MOTION = 0.5  # the hand then turns once in four seconds
STRENGTH = 0.5  # of an edit that does not say
TINTS = {"sepia": (1.0, 0.85, 0.6), "night": (0.3, 0.4, 0.7)}  # what each adapter multiplies colours by


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
        """Yield chunks of frames_THWC; see `engines.protocol.Engine.render`. Pictures stand where the plan has them.

        An edit shows the source through the card, or beside it where a mask keeps it; an extension counts on where
        its source ends; each shot turns the bars once more; a character stands in the upper left corner.
        """
        for step in range(plan.steps):
            on_step(Step("denoise", step, plan.steps))
            time.sleep(self._step_seconds)
        frames = shown(plan, conditions)
        total = plan.rendered_frames
        for begin in range(0, total, CHUNK):
            end = min(begin + CHUNK, total)
            chunk_THWC = np.stack([next(frames) for _ in range(begin, end)])
            on_step(Step("decode", end, total))
            yield chunk_THWC


def shown(plan: Plan, conditions: Conditions) -> Iterator[NDArray[np.uint8]]:
    """Every frame_HWC of the clip."""
    pinned = pictures(plan, conditions)
    under = source(plan, conditions)
    characters = [nearest(each.last(plan.rendered), corner(plan.rendered)) for each in conditions.characters]
    cuts = list(accumulate((shot.seconds * plan.rendered_fps for shot in plan.shots), initial=0))[:-1] or [0]
    first = round(plan.source_seconds * plan.rendered_fps) if plan.operation is Operation.EXTEND else 0
    motion = USUAL_MOTION if plan.motion_intensity is None else plan.motion_intensity
    for number in range(plan.rendered_frames):
        card_HWC = bars(plan.rendered, plan.seed + sum(number >= cut for cut in cuts) - 1)
        picture_HWC = frame(card_HWC, first + number, plan.rendered_fps, motion / USUAL_MOTION)
        picture_HWC = tinted(framed(picture_HWC, plan.style), plan.loras)
        for place, character_HWC in enumerate(characters):
            height, width = character_HWC.shape[:2]
            picture_HWC[:height, place * width : (place + 1) * width] = character_HWC
        if under is not None:
            picture_HWC = blended(next(under), picture_HWC, plan, conditions.mask_HW)
        yield pinned.get(number, picture_HWC)


def pictures(plan: Plan, conditions: Conditions) -> dict[int, NDArray[np.uint8]]:
    """Which frames are given, by their numbers."""
    given: dict[int, NDArray[np.uint8]] = {}
    begins = accumulate((shot.seconds * plan.rendered_fps for shot in plan.shots), initial=0)
    given |= {at: each for at, each in zip(begins, conditions.references, strict=False) if each is not None}
    last = plan.rendered_frames - 1
    given |= {min(last, round(second * plan.rendered_fps)): each for second, each in conditions.keyframes}
    if conditions.first_frame_HWC is not None:
        given[0] = conditions.first_frame_HWC
    if conditions.last_frame_HWC is not None:
        given[last] = conditions.last_frame_HWC
    return {number: nearest(picture_HWC, plan.rendered) for number, picture_HWC in given.items()}


def source(plan: Plan, conditions: Conditions) -> Iterator[NDArray[np.uint8]] | None:
    """Frames that an edit is drawn over; an extension comes after its source, not over it."""
    if conditions.source is None or plan.operation is Operation.EXTEND:
        return None
    chunks = conditions.source.frames(plan.rendered, plan.rendered_fps, plan.rendered_frames)
    return (frame_HWC for chunk_THWC in chunks for frame_HWC in chunk_THWC)


def blended(
    source_HWC: NDArray[np.uint8], card_HWC: NDArray[np.uint8], plan: Plan, mask_HW: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Source and card by the edit's strength; where a mask is black, the source alone."""
    strength = np.full(card_HWC.shape[:2], STRENGTH if plan.strength is None else plan.strength, np.float32)
    if mask_HW is not None:
        strength *= nearest(mask_HW[..., None], plan.rendered)[..., 0] / np.float32(255)
    mixed_HWC = source_HWC + strength[..., None] * (card_HWC.astype(np.float32) - source_HWC)
    return np.rint(mixed_HWC).astype(np.uint8)


def framed(picture_HWC: NDArray[np.uint8], style: str) -> NDArray[np.uint8]:
    """A border whose colour is the style's; none without a style."""
    if style:
        edge = max(1, min(picture_HWC.shape[:2]) // 24)
        colour = np.frombuffer(zlib.crc32(style.encode()).to_bytes(4, "big"), np.uint8)[:3]
        for side in (np.s_[:edge], np.s_[-edge:], np.s_[:, :edge], np.s_[:, -edge:]):
            picture_HWC[side] = colour
    return picture_HWC


def tinted(picture_HWC: NDArray[np.uint8], loras: tuple[Lora, ...]) -> NDArray[np.uint8]:
    """The picture under its adapters, each by its weight."""
    for lora in loras:
        factor = 1 + lora.weight * (np.array(TINTS[lora.name]) - 1)
        picture_HWC = np.clip(picture_HWC * factor, 0, 255).astype(np.uint8)
    return picture_HWC


def corner(size: Size) -> Size:
    """What a character takes of the picture: a quarter of each side."""
    return Size(max(1, size.width // 4), max(1, size.height // 4))


def bars(size: Size, seed: int) -> NDArray[np.uint8]:
    """Seven colour bars, turned by the seed, over a grey ramp -> card_HWC."""
    column = (np.arange(size.width) * len(BARS) // size.width + seed) % len(BARS)
    card = np.repeat(np.array(BARS, np.uint8)[column][None], size.height, axis=0)
    ramp = np.linspace(0, 255, size.width).astype(np.uint8)
    card[size.height * 3 // 4 :] = ramp[None, :, None]
    return card


def frame(card_HWC: NDArray[np.uint8], number: int, fps: int, speed: float = 1.0) -> NDArray[np.uint8]:
    """The card with a clock whose hand turns once in four seconds at speed 1, and the number of the frame."""
    picture = card_HWC.copy()
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = min(height, width) * 0.28
    down, right = y - height * 0.4, x - width / 2
    distance = np.hypot(down, right)
    turn = np.mod(np.arctan2(right, -down) / (2 * np.pi), 1.0)
    swept = turn < (speed * number / fps / 4) % 1.0
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
