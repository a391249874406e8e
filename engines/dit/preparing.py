"""What a part needs before its first window: words read, pictures fitted and encoded, its source at hand."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from domain.video import Operation, Plan
from engines.dit import sources, windows
from engines.dit.drawing import Drawer
from engines.dit.parts import Part, camera_of, style_of
from engines.dit.pictures import fit, frames_of, kept, scaled, video_of
from engines.dit.sources import Under
from engines.dit.takes import Take
from engines.dit.windows import HISTORY, Stretch
from engines.footage import Footage
from engines.protocol import Conditions

LEAST = 0.001  # strength of an edit


def take_of(drawer: Drawer, plan: Plan, conditions: Conditions, part: Part) -> Take:
    """A part with its words read and its pictures and its source encoded."""
    pictures = {frame: frames_of(fit(each, plan.rendered)[None])[0] for frame, each in part.pictures.items()}
    stills = {frame: drawer.encode(fit(each, drawer.size)[None]) for frame, each in part.pictures.items()}
    history = under = keep = None
    if (source := extended(plan, conditions)) is not None:
        tail_TCHW = video_of(sources.tail(source, plan))
        small_TCHW = scaled(tail_TCHW, drawer.size)
        pictures[-1] = frames_of(tail_TCHW[-1:])[0]
        before = Stretch(part.frames, opens=False).reference
        stills[before] = drawer.encode(small_TCHW[before:][:1])
        history = drawer.encode(small_TCHW)[:, -HISTORY:]
    if (source := repainted(plan, conditions)) is not None:
        count = windows.longest(Stretch(part.frames).latents)
        under = Under(sources.frames(source, plan, count), drawer.size, drawer.encode)
        keep = None if conditions.mask_HW is None else kept(conditions.mask_HW, drawer.size)
    return Take(
        frames=part.frames,
        fps=plan.rendered_fps,
        text=drawer.read(part.prompt),
        motion=plan.motion_intensity,
        style=style_of(part.prompt),
        camera=camera_of(part.prompt),
        pictures=pictures,
        stills=stills,
        history_BLZhw=history,
        under=under,
        keep_hw=keep,
    )


def extended(plan: Plan, conditions: Conditions) -> Footage | None:
    """The clip that the plan goes on with."""
    return conditions.source if plan.operation is Operation.EXTEND else None


def repainted(plan: Plan, conditions: Conditions) -> Footage | None:
    """The clip that the plan paints over."""
    return None if plan.operation is Operation.EXTEND else conditions.source


def strength_of(plan: Plan) -> float:
    """How far a clip that is painted over goes from its source; less than `LEAST` is not at all."""
    strength = 1.0 if plan.strength is None else plan.strength
    return strength if strength >= LEAST else 0.0
