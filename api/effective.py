"""What a video really is, beside what was asked for: the plan in a client's words, without a key of the store."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from domain import ids
from domain.video import Operation, Plan, Request, Size


class Picture(BaseModel):
    """Size in pixels and frames a second."""

    size: str
    fps: int


class ShotPlan(BaseModel):
    """One of the parts of a storyboard."""

    prompt: str
    seconds: int
    has_reference: bool


class LoraPlan(BaseModel):
    """An adapter and how strongly it acts."""

    name: str
    weight: float


class CharacterRef(BaseModel):
    """Somebody who appears."""

    id: str


class Effective(BaseModel):
    """Values in effect. Null: the model has no such knob, or there is nothing to turn."""

    operation: Operation
    resolved_model: str
    seed: int
    fps: int
    steps: int
    guidance: float
    negative_prompt: str | None
    style: str | None
    motion_intensity: float | None
    strength: float | None
    shots: list[ShotPlan]
    keyframes: list[float]  # their seconds
    loras: list[LoraPlan]
    characters: list[CharacterRef]
    priority: int
    rendered: Picture
    delivered: Picture


def effective(request: Request, plan: Plan) -> dict[str, Any]:
    """The fields of `Effective`."""
    return {
        "operation": plan.operation,
        "resolved_model": plan.model,
        "seed": plan.seed,
        "fps": plan.fps,
        "steps": plan.steps,
        "guidance": plan.guidance,
        "negative_prompt": plan.negative_prompt or None,
        "style": plan.style or None,
        "motion_intensity": plan.motion_intensity,
        "strength": plan.strength,
        "shots": [
            ShotPlan(prompt=shot.prompt, seconds=shot.seconds, has_reference=shot.reference is not None)
            for shot in plan.shots
        ],
        "keyframes": [frame.second for frame in plan.keyframes],
        "loras": [LoraPlan(name=lora.name, weight=lora.weight) for lora in plan.loras],
        "characters": [CharacterRef(id=ids.public(ids.Kind.CHARACTER, each)) for each in request.characters],
        "priority": request.priority,
        "rendered": _picture(plan.rendered, plan.rendered_fps),
        "delivered": _picture(plan.delivered, plan.fps),
    }


def length(plan: Plan) -> str:
    """Seconds of the delivered file as OpenAI writes them; an extended clip of an upload may have a fraction."""
    return f"{round(plan.total_seconds, 3):g}"


def _picture(size: Size, fps: int) -> Picture:
    return Picture(size=str(size), fps=fps)
