"""POST /v1/videos from parameters to a stored video. Redis is not needed: the ring is a flag for another thread."""

from __future__ import annotations

from dataclasses import replace
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
from storage.keys import Caller
from storage.videos import NewVideo, Video


def submit(served: Services, caller: Caller, values: dict[str, Any]) -> Video:
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
    video = _remember(served, caller, new)
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


def _remember(served: Services, caller: Caller, new: NewVideo) -> Video:
    """One transaction: the video with all that belongs to it, or nothing."""
    with served.database.transaction(caller.tenant_id) as connection:
        videos.create(connection, caller.tenant_id, new)
        if new.request.first_frame is not None:
            outputs.adopt_input(connection, caller.tenant_id, new.id)
        video = videos.find(connection, caller.tenant_id, new.id)
    if video is None:
        raise RuntimeError("a video vanished inside the transaction that created it")
    return video
