"""POST /v1/videos from parameters to a stored video. Redis is not needed: the ring is a flag for another thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from api import inputs, parameters
from api.services import Services
from domain import catalogue, ids
from domain.catalogue import Model
from domain.errors import PromptBlocked
from domain.lifecycle import Stage
from domain.video import Request
from moderation import prompts
from storage import outputs, videos
from storage.database import Connection
from storage.keys import Caller
from storage.videos import NewVideo, Video


@dataclass(frozen=True, slots=True)
class Errand:
    """A create on behalf of something else, for which nobody waits.

    `note` gets the id of the video first thing in the transaction that creates it; what it raises undoes all.
    """

    priority: int  # added to what is asked for
    queue_seconds: int  # that it may wait for a renderer
    note: Callable[[Connection, UUID], None]


def submit(served: Services, caller: Caller, values: dict[str, Any], *, errand: Errand | None = None) -> Video:
    """Check, plan, price, screen by rules, store. Raises the refusals of `domain.errors`."""
    parameters.check_names(values)
    model = served.catalogue.find(parameters.model_name(values))
    request = parameters.request(values, model)
    refuse_blocked(request.prompt)
    video_id = ids.new_id()
    reference = values.get(inputs.PARAM)
    if reference is not None:
        png = inputs.picture(served, caller, inputs.PARAM, reference, request.size)
        key = inputs.store(served, caller.tenant_id, video_id, "first_frame.png", png)
        request = replace(request, first_frame=key)
    new = _planned(served, caller, model, request, video_id)
    if errand is not None:
        new = replace(new, priority=new.priority + errand.priority, queue_seconds=errand.queue_seconds)
    video = _remember(served, caller, new, errand)
    served.ringer.want(Stage.SCREEN)
    served.metrics.created(model.name)
    return video


def refuse_blocked(prompt: str) -> None:
    """Raises PromptBlocked, which does not say what was found: that would teach how to get around it."""
    if prompts.check(prompt).action == "block":
        raise PromptBlocked("Your request was rejected by the safety system.")


def _planned(served: Services, caller: Caller, model: Model, request: Request, video_id: UUID) -> NewVideo:
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
    )


def _remember(served: Services, caller: Caller, new: NewVideo, errand: Errand | None) -> Video:
    """One transaction: the video with all that belongs to it, or nothing."""
    with served.database.transaction(caller.tenant_id) as connection:
        if errand is not None:
            errand.note(connection, new.id)
        videos.create(connection, caller.tenant_id, new)
        if new.request.first_frame is not None:
            outputs.adopt_input(connection, caller.tenant_id, new.id)
        video = videos.find(connection, caller.tenant_id, new.id)
    if video is None:
        raise RuntimeError("a video vanished inside the transaction that created it")
    return video
