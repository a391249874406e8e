"""POST /v1/videos from parameters to a stored video. Redis is not needed: the ring is a flag for another thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from api import inputs, parameters
from api.idempotency import Attempt, Made
from api.services import Services
from domain import catalogue, ids
from domain.catalogue import Model
from domain.errors import NotFound, PromptBlocked
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


@dataclass(frozen=True, slots=True)
class Submitted:
    """A video as it is now, and whether an earlier try of the same request made it."""

    video: Video
    made: Made


def submit(
    served: Services,
    caller: Caller,
    values: dict[str, Any],
    *,
    attempt: Attempt | None = None,
    errand: Errand | None = None,
) -> Submitted:
    """Check, plan, price, screen by rules, store; or find what an earlier try of the same request stored.

    Raises the refusals of `domain.errors`.
    """
    made = None if attempt is None else attempt.recall(served)
    if made is not None:
        with served.database.transaction(caller.tenant_id) as connection:
            return Submitted(_current(connection, caller, made), made)
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
    submitted = _remember(served, caller, new, attempt, errand)
    if not submitted.made.replayed:
        served.ringer.want(Stage.SCREEN)
        served.metrics.created(model.name)
    return submitted


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


def _remember(
    served: Services, caller: Caller, new: NewVideo, attempt: Attempt | None, errand: Errand | None
) -> Submitted:
    """One transaction: the video with all that belongs to it, or nothing."""
    with served.database.transaction(caller.tenant_id) as connection:

        def make() -> str:
            return _store(connection, caller, new, errand)

        made = Made(make(), replayed=False) if attempt is None else attempt.once(connection, make)
        if made.replayed:
            outputs.abandon_inputs(connection, caller.tenant_id, new.id)
        return Submitted(_current(connection, caller, made), made)


def _store(connection: Connection, caller: Caller, new: NewVideo, errand: Errand | None) -> str:
    if errand is not None:
        errand.note(connection, new.id)
    videos.create(connection, caller.tenant_id, new)
    if new.request.first_frame is not None:
        outputs.adopt_input(connection, caller.tenant_id, new.id)
    return ids.public(ids.Kind.VIDEO, new.id)


def _current(connection: Connection, caller: Caller, made: Made) -> Video:
    """Raises NotFound if it was deleted since."""
    video = videos.find(connection, caller.tenant_id, ids.parse(ids.Kind.VIDEO, made.resource))
    if video is None:
        raise NotFound("The video that this request made was deleted.", code="video_not_found")
    return video
