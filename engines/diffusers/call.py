"""One call of a pipeline: which one of those that share the weights, and with which arguments."""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from domain.video import Plan
from engines.diffusers import families
from engines.diffusers.families import Outline, Task
from engines.diffusers.library import LTXVideoCondition
from engines.diffusers.loading import Loaded
from engines.diffusers.parts import Part
from engines.diffusers.pictures import Canvas
from engines.protocol import Unrenderable

Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Call:
    """A pipeline and what it is asked; `drawn` frames, of which `lead` come before the part begins."""

    pipeline: Any
    fixed: dict[str, Any]
    seed: int
    guidance: float
    drawn: int
    lead: int
    pinned_end: bool  # the last drawn frame is one that was given
    streams: bool

    def arguments(self) -> dict[str, Any]:
        """For the call; noise begins anew each time. It is drawn on the processor, so that a GPU draws the same."""
        return {**self.fixed, "generator": torch.Generator("cpu").manual_seed(self.seed)}

    def shown(self, part: Part) -> list[int]:
        """Which of the drawn frames the part shows. A frame that must be last stays, and others are left out."""
        if not self.pinned_end:
            return list(range(self.lead, self.lead + part.frames))
        if part.frames == 1:
            return [self.drawn - 1]
        return [round(place) for place in np.linspace(self.lead, self.drawn - 1, part.frames)]


def call_of(
    loaded: Loaded,
    plan: Plan,
    part: Part,
    canvas: Canvas,
    *,
    before_HWC: Frames | None,
    source_THWC: Frames | None,
    seed: int,
) -> Call:
    """What a part needs; `before_HWC` is the frame before it, `source_THWC` are those that it repaints.

    Raises Unrenderable if the model cannot do without a picture that is not there.
    """
    lead = int(part.continues)
    first_HWC = part.first_HWC if part.first_HWC is not None or not part.continues else before_HWC
    drawn = loaded.grid.length(part.frames + lead)
    given = {"first": first_HWC, "last": part.last_HWC, "keyframes": part.keyframes or None}
    task = _task(loaded, {name for name, value in given.items() if value is not None}, source_THWC is not None)
    pipeline = loaded.pipelines[task]
    known = families.parameters(pipeline)
    asked = _common(plan, part, canvas, drawn)
    match task:
        case Task.VIDEO if source_THWC is not None:
            frames = [canvas.spread(frame_HWC) for frame_HWC in source_THWC]
            asked |= {"video": frames + [frames[-1]] * (drawn - len(frames))}
            asked |= {"strength": strength_of(plan)}
        case Task.IMAGE:
            asked |= {"image": canvas.picture(_needed(first_HWC, loaded.name, "input_reference"))}
            if families.needs_last_image(Outline.of(pipeline)):
                _needed(part.last_HWC, loaded.name, "last_frame")
            asked |= {} if part.last_HWC is None else {"last_image": canvas.picture(part.last_HWC)}
        case Task.FRAMES:
            asked |= {"conditions": _placed(part, first_HWC, canvas, lead)}
        case _:
            pass
    return Call(
        pipeline,
        {name: value for name, value in asked.items() if name in known},
        seed,
        plan.guidance,
        drawn,
        lead,
        pinned_end=task is Task.IMAGE and part.last_HWC is not None,
        streams=type(pipeline).__name__ in families.STREAMED,
    )


def strength_of(plan: Plan) -> float:
    """How far a repainted clip goes from its source; at least one step, in the arithmetic of the library."""
    least = math.nextafter(1 / plan.steps, 1)  # 49 * (1 / 49) is less than 1
    return max(least, 1.0 if plan.strength is None else plan.strength)


def _task(loaded: Loaded, given: set[str], repaints: bool) -> Task:  # noqa: FBT001 - one caller, above
    if repaints:
        return Task.VIDEO
    if "keyframes" in given or ("last" in given and not pairs(loaded)):
        return Task.FRAMES
    if "first" in given or Task.TEXT not in loaded.pipelines:
        return Task.IMAGE if Task.IMAGE in loaded.pipelines else Task.FRAMES
    return Task.TEXT


def pairs(loaded: Loaded) -> bool:
    """Whether the pipeline for a first frame takes a last one too."""
    of_images = loaded.pipelines.get(Task.IMAGE)
    return of_images is not None and families.takes_last_image(Outline.of(of_images))


def _common(plan: Plan, part: Part, canvas: Canvas, drawn: int) -> dict[str, Any]:
    """Under every name that some pipeline has for it; only those that it knows are passed on."""
    return {
        "prompt": part.prompt,
        "negative_prompt": plan.negative_prompt or None,
        "width": canvas.drawn.width,
        "height": canvas.drawn.height,
        "num_inference_steps": plan.steps,
        "guidance_scale": plan.guidance,
        **dict.fromkeys(families.FRAMES, drawn),
        **dict.fromkeys(families.RATES, plan.rendered_fps),
    }


def _placed(part: Part, first_HWC: Frames | None, canvas: Canvas, lead: int) -> list[Any]:
    """Pictures at their frames, each place once; first and last frame win over a keyframe."""
    pictures = {at + lead: picture for at, picture in part.keyframes}
    pictures |= {} if first_HWC is None else {0: first_HWC}
    pictures |= {} if part.last_HWC is None else {part.frames + lead - 1: part.last_HWC}
    return [
        LTXVideoCondition(image=canvas.picture(picture_HWC), frame_index=at)
        for at, picture_HWC in sorted(pictures.items())
    ]


def _needed(picture_HWC: Frames | None, name: str, what: str) -> Frames:
    if picture_HWC is None:
        raise Unrenderable(f"{name} draws from pictures only: it needs {what}")
    return picture_HWC
