"""From the values of a body to a video that is ready to be stored: checked, moderated by rules, planned, priced.

Nothing is written here, so a dry run ends where this does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from api import casting, parameters, sources
from api.attachments import Attachment, Desk
from api.parameters import Terms
from api.parameters.sizes import chosen
from api.services import Services
from api.sources import Source
from domain import catalogue, ids
from domain.catalogue import OPERATION_NEEDS, Model
from domain.errors import InvalidRequest, PromptBlocked
from domain.video import Keyframe, Lora, Operation, Request, Shot, Size
from moderation import prompts
from storage.characters import Character
from storage.keys import Caller
from storage.videos import NewVideo

Values = Mapping[str, Any]
_PLAIN = (
    "prompt",
    "seed",
    "steps",
    "guidance",
    "metadata",
    "negative_prompt",
    "fps",
    "style",
    "motion_intensity",
    "strength",
    "priority",
    "safety_identifier",
    "webhook_url",
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A video that may be stored as soon as its attachments are; they are decoded as they are asked for."""

    new: NewVideo
    model: Model
    attachments: Iterator[Attachment]
    dry_run: bool


def prepare(served: Services, caller: Caller, operation: Operation, values: Values, source_id: str | None) -> Prepared:
    """Check, screen by rules, plan, price. `source_id` is a remix's.

    Raises the refusals of `domain.errors`.
    """
    settled = parameters.named(operation, values)
    origin = _origin(served, caller, operation, settled, source_id)
    model = _model(served, caller, settled, origin)
    catalogue.check_capability(model, OPERATION_NEEDS.get(operation), sources.PARAM)
    asked = parameters.read(operation, settled, Terms(model, served.settings.webhook_allow_loopback))
    refuse_blocked(*words(asked))
    source = sources.of_clip(served, caller, asked["video"]) if origin is None and "video" in asked else origin
    who = casting.cast(served, caller, asked)
    draft = _draft(operation, asked, _name(settled, origin), source, model)
    desk = Desk(caller.tenant_id, ids.new_id())
    request = replace(draft, **_pictures(desk, asked), **_of_source(desk, source, model, operation), **_shown(who))
    new = _planned(served, caller, desk.video_id, request, model)  # before any picture is decoded
    return Prepared(new, model, desk.attachments(served, caller, request.size), asked.get("dry_run", False))


def refuse_blocked(*texts: str) -> None:
    """Raises PromptBlocked, which does not say what was found: that would teach how to get around it."""
    if any(prompts.check(text).action == "block" for text in texts):
        raise PromptBlocked("Your request was rejected by the safety system.")


def words(asked: Values) -> Iterator[str]:
    """All that somebody wrote about the picture."""
    yield from (asked[name] for name in ("prompt", "negative_prompt", "style") if asked.get(name))
    yield from (shot["prompt"] for shot in asked.get("shots", ()))


def _origin(
    served: Services, caller: Caller, operation: Operation, settled: Values, source_id: str | None
) -> Source | None:
    """The video of ours that the call names by its id. Clips are decoded later, when all else is in order."""
    match settled.get("video"):
        case {"id": str(public_id)}:
            return sources.of_video(served, caller, public_id, operation)
        case _ if source_id is not None:
            return sources.of_video(served, caller, source_id, operation)
        case _:
            return None


def _name(settled: Values, source: Source | None) -> str:
    """The model as asked: by the source's request, if it is a video of ours."""
    if source is not None and source.video is not None:
        return source.video.model
    return parameters.model_name(settled)


def _model(served: Services, caller: Caller, settled: Values, source: Source | None) -> Model:
    allowed = caller.tenant.allowed_models
    model = served.catalogue.find(_name(settled, source), allowed)
    if "model" in settled and served.catalogue.find(parameters.model_name(settled), allowed) is not model:
        raise InvalidRequest(
            f"A video given by id is worked on by its own model, '{model.name}'. Leave 'model' out.", param="model"
        )
    return model


def _draft(operation: Operation, asked: Values, name: str, source: Source | None, model: Model) -> Request:
    """The request as far as words and numbers go."""
    plain = {field: asked[field] for field in _PLAIN if field in asked}
    if "loras" in asked:
        plain["loras"] = tuple(Lora(**each) for each in asked["loras"])
    if source is None:
        return Request(model=name, seconds=_seconds(asked, model), size=chosen(asked, model), **plain)
    seconds = asked["seconds"] if operation is Operation.EXTEND else source.whole_seconds
    kept = _kept(source, model, operation)
    of_video = None if source.video is None else source.video.id
    derived: dict[str, Any] = {"operation": operation, "source": of_video, "source_seconds": source.seconds}
    return Request(model=name, seconds=seconds, size=_fitting(source.size, model), **{**kept, **plain, **derived})


def _seconds(asked: Values, model: Model) -> int:
    if "seconds" in asked:
        return asked["seconds"]
    if "shots" in asked:
        return sum(shot["seconds"] for shot in asked["shots"])
    default = int(parameters.DEFAULT_SECONDS)
    return default if default in model.seconds else model.seconds[0]


def _fitting(size: Size, model: Model) -> Size:
    if str(size) not in model.sizes:
        raise InvalidRequest(
            f"The source is {size}; '{model.name}' makes {', '.join(model.sizes)}.", param=sources.PARAM
        )
    return size


def _kept(source: Source, model: Model, operation: Operation) -> dict[str, Any]:
    """What the new video has from its source: everything for a remix, the rate for an extension."""
    if source.video is None:
        return {}
    plan, request = source.video.plan, source.video.request
    rate = {"fps": plan.fps} if plan.fps != model.fps else {}
    if operation is not Operation.REMIX:
        return rate
    settings = {
        "seed": plan.seed,
        "steps": plan.steps,
        "guidance": plan.guidance,
        "negative_prompt": request.negative_prompt,
        "style": request.style,
        "motion_intensity": request.motion_intensity,
        "loras": request.loras,
        "characters": request.characters,
        "character_clips": request.character_clips,
    }
    return {**rate, **settings}


def _planned(served: Services, caller: Caller, video_id: UUID, request: Request, model: Model) -> NewVideo:
    plan = catalogue.plan(request, model)
    return NewVideo(
        id=video_id,
        key_id=caller.key_id,
        request=request,
        plan=plan,
        pool=model.queue,
        price_micros=catalogue.price(plan, model),
        estimate_ms=catalogue.cost(plan, model),
        queue_seconds=served.settings.queue_timeout_seconds,
        priority=request.priority,
    )


def _pictures(desk: Desk, asked: Values) -> dict[str, Any]:
    keyframes = (
        (frame["second"], desk.picture(f"keyframe_{at}", f"keyframes[{at}].image", frame["image"]))
        for at, frame in enumerate(asked.get("keyframes", ()))
    )
    found = {
        "first_frame": desk.picture("first_frame", "input_reference", asked.get("input_reference")),
        "last_frame": desk.picture("last_frame", "last_frame", asked.get("last_frame")),
        "mask": desk.picture("mask", "mask", asked.get("mask")),
        "keyframes": tuple(Keyframe(second, key) for second, key in keyframes if key is not None),
        "shots": tuple(
            Shot(
                shot["prompt"],
                shot["seconds"],
                desk.picture(f"shot_{at}", f"shots[{at}].reference", shot.get("reference")),
            )
            for at, shot in enumerate(asked.get("shots", ()))
        ),
    }
    return {name: value for name, value in found.items() if value}


def _shown(who: Sequence[Character]) -> dict[str, Any]:
    if not who:
        return {}
    return {"characters": tuple(each.id for each in who), "character_clips": tuple(each.object_key for each in who)}


def _of_source(desk: Desk, source: Source | None, model: Model, operation: Operation) -> dict[str, Any]:
    """The clip itself where the model can start from one; else a remix has its source's pictures."""
    if source is None:
        return {}
    if operation is not Operation.REMIX or "video" in model.capabilities:
        return {"source_clip": desk.source(source)}
    if source.video is None:
        return {}
    before = source.video.request
    return {
        "first_frame": desk.copy("first_frame", before.first_frame),
        "last_frame": desk.copy("last_frame", before.last_frame),
        "keyframes": tuple(
            replace(frame, image=desk.copy(f"keyframe_{at}", frame.image) or "")
            for at, frame in enumerate(before.keyframes)
        ),
    }
