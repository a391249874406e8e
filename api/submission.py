"""Every call that makes a video, up to its row. Redis is not needed: the ring is a flag for another thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from api import attachments, planning
from api.idempotency import Attempt, Made
from api.services import Services
from domain import ids
from domain.errors import InvalidRequest, NotFound
from domain.lifecycle import Stage
from domain.video import Operation
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
    operation: Operation = Operation.CREATE,
    source_id: str | None = None,
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
    prepared = planning.prepare(served, caller, operation, values, source_id)
    if prepared.dry_run:
        raise InvalidRequest("Nobody waits here for what a dry run would say.", param="dry_run")
    new = prepared.new
    if errand is not None:
        new = replace(new, priority=new.priority + errand.priority, queue_seconds=errand.queue_seconds)
    with attachments.stored(served, caller.tenant_id, new.id, prepared.attachments):
        submitted = _remember(served, caller, new, attempt, errand)
    if not submitted.made.replayed:
        served.ringer.want(Stage.SCREEN)
        served.metrics.created(prepared.model.name)
    return submitted


def _remember(
    served: Services, caller: Caller, new: NewVideo, attempt: Attempt | None, errand: Errand | None
) -> Submitted:
    """One transaction: the video with all that belongs to it, or nothing."""
    with served.database.transaction(caller.tenant_id) as connection:
        name = ids.public(ids.Kind.VIDEO, new.id)
        stored: list[Video] = []

        def make() -> str:
            stored.append(_store(connection, caller, new, errand))
            return name

        made = Made(make(), replayed=False) if attempt is None else attempt.once(connection, make, resource=name)
        if stored:
            return Submitted(stored[0], made)
        outputs.abandon_inputs(connection, caller.tenant_id, new.id)
        return Submitted(_current(connection, caller, made), made)


def _store(connection: Connection, caller: Caller, new: NewVideo, errand: Errand | None) -> Video:
    if errand is not None:
        errand.note(connection, new.id)
    video = videos.create(connection, caller.tenant_id, new)
    if new.plan.inputs:
        outputs.adopt_input(connection, caller.tenant_id, new.id)
    return video


def _current(connection: Connection, caller: Caller, made: Made) -> Video:
    """Raises NotFound if it was deleted since."""
    video = videos.find(connection, caller.tenant_id, ids.parse(ids.Kind.VIDEO, made.resource))
    if video is None:
        raise NotFound("The video that this request made was deleted.", code="video_not_found")
    return video
