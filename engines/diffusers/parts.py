"""A plan cut into the clips that a pipeline draws one after the other: shots, and windows of long shots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domain.video import Operation, Plan
from engines.protocol import Conditions

Picture = NDArray[np.uint8]  # HWC


@dataclass(frozen=True, slots=True)
class Part:
    """`frames` new frames. One that `continues` is drawn from the last frame before it, which is not shown again."""

    prompt: str
    begin: int  # its first frame in the clip
    frames: int
    first_HWC: Picture | None = None
    last_HWC: Picture | None = None
    keyframes: tuple[tuple[int, Picture], ...] = ()  # frame of this part, picture
    continues: bool = False


def cut(plan: Plan, conditions: Conditions, window: int) -> list[Part]:
    """Every part, in order. No part draws more than `window` frames unless that is 0."""
    whole = [
        window_
        for shot in _shots(plan, conditions)
        for window_ in _windows(shot, window if conditions.source is None or _extends(plan) else 0)
    ]
    return [_with_keyframes(part, plan, conditions) for part in whole]


def _extends(plan: Plan) -> bool:
    return plan.operation is Operation.EXTEND


def _shots(plan: Plan, conditions: Conditions) -> Iterator[Part]:
    prompts = [(f"{shot.prompt}, {plan.prompt}", shot.seconds * plan.rendered_fps) for shot in plan.shots]
    prompts = prompts or [(plan.prompt, plan.rendered_frames)]
    references = conditions.references or (None,) * len(prompts)
    opening = conditions.first_frame_HWC
    if _extends(plan) and conditions.source is not None:
        opening = conditions.source.last(plan.rendered)
    begin = 0
    for number, ((prompt, frames), reference_HWC) in enumerate(zip(prompts, references, strict=True)):
        last = number == len(prompts) - 1
        yield Part(
            prompt=f"{prompt}, {plan.style}" if plan.style else prompt,
            begin=begin,
            frames=frames,
            first_HWC=opening if number == 0 and opening is not None else reference_HWC,
            last_HWC=conditions.last_frame_HWC if last else None,
            continues=number == 0 and _extends(plan),
        )
        begin += frames


def _windows(shot: Part, window: int) -> Iterator[Part]:
    """The shot, or the parts of one that is longer than a window."""
    part, left = shot, shot.frames
    while window and left > (room := window - part.continues):
        yield replace(part, frames=room, last_HWC=None)
        left -= room
        part = replace(part, begin=part.begin + room, first_HWC=None, continues=True)
    yield replace(part, frames=left)


def _with_keyframes(part: Part, plan: Plan, conditions: Conditions) -> Part:
    last = plan.rendered_frames - 1
    placed = ((min(last, round(second * plan.rendered_fps)), picture) for second, picture in conditions.keyframes)
    mine = ((at - part.begin, picture) for at, picture in placed if part.begin <= at < part.begin + part.frames)
    return replace(part, keyframes=tuple(mine))
