"""/admin/v1/videos: every tenant's videos, and what an operator or a moderator does to one."""

from __future__ import annotations

from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Query

from api import paging, schemas
from api.admin import video_objects, wire
from api.admin.access import Administrator, Moderator, Operator, Reader
from api.admin.video_objects import AdminVideo, VideoStory
from api.admin.wire import Limit, Moment, Received
from api.deps import Served
from api.paging import After, Page
from domain import fields, ids
from domain.administration import DECISION, Permission
from domain.lifecycle import STAGE_OF_WAITING, State
from storage import inspection, interventions, retries
from storage.hints import DELIVER
from storage.inspection import Inspected, Wanted

router = APIRouter()
VIDEO = "/videos/{video_id}"


@router.get("/videos")
def list_videos(
    served: Served,
    reader: Reader,
    *,
    tenant: Annotated[str | None, Query(description="A tenant's id.")] = None,
    state: Annotated[State | None, Query(description="The state, not the public status.")] = None,
    model: Annotated[str | None, Query(description="As asked or as resolved.")] = None,
    error: Annotated[str | None, Query(description="The code of the error.")] = None,
    since: Moment = None,
    until: Moment = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[AdminVideo]:
    """Videos of all tenants by creation, newest first, deleted ones too."""
    wanted = Wanted(
        tenant=paging.named(ids.Kind.TENANT, tenant, "tenant"),
        state=state,
        model=wire.clean(model),
        error=wire.clean(error),
        since=wire.moment(since),
        until=wire.moment(until),
    )
    cursor = paging.named(ids.Kind.VIDEO, after, "after")
    with served.database.transaction_for_any_tenant() as connection:
        found = inspection.page_for_any_tenant(connection, wanted, after=cursor, limit=limit)
    return wire.page(found, lambda video: _shown(reader, video))


@router.get(VIDEO)
def retrieve_video(served: Served, reader: Reader, video_id: str) -> VideoStory:
    """One video with everything that happened to it."""
    with served.database.transaction_for_any_tenant() as connection:
        found = interventions.the_video_for_any_tenant(connection, _known(video_id))
        return video_objects.story(connection, found, prompts=reader.may(Permission.PROMPTS))


@router.post(VIDEO + "/cancel")
def cancel_video(served: Served, operator: Operator, video_id: str) -> AdminVideo:
    """Stop the video and keep its row. A finished one is 409; a cancelled one stays as it is."""
    with served.database.transaction_for_any_tenant() as connection:
        found = interventions.cancel_for_any_tenant(connection, operator.actor, _known(video_id))
    served.ringer.want(DELIVER)
    return _shown(operator, found)


@router.delete(VIDEO)
def delete_video(served: Served, moderator: Moderator, video_id: str) -> schemas.DeletedVideo:
    """Stop the video if it runs, forget its prompt, take its results away. No webhook is sent."""
    with served.database.transaction_for_any_tenant() as connection:
        interventions.delete_for_any_tenant(connection, moderator.actor, _known(video_id))
    return schemas.DeletedVideo(id=video_id)


@router.post(VIDEO + "/retry")
def retry_video(served: Served, operator: Operator, video_id: str) -> AdminVideo:
    """The same again as a new video of the same owner, who pays for it. 409 unless finished, or if uploads are gone."""
    new = retries.retry_for_any_tenant(
        served.database,
        lambda: served.objects,
        operator.actor,
        _known(video_id),
        served.settings.queue_timeout_seconds,
        place=served.gate.entered,
    )
    served.ringer.want(new.video.queue)
    return _shown(operator, new)


@router.post(VIDEO + "/decide", openapi_extra=wire.described(DECISION, ("decision",)))
def decide_video(served: Served, moderator: Moderator, video_id: str, body: Received) -> AdminVideo:
    """Send a held video on to where it was going, or end it. The note is for the audit log."""
    values = fields.check(DECISION, wire.read(body), ("decision",))
    decision = cast("Literal['allow', 'block']", values["decision"])
    with served.database.transaction_for_any_tenant() as connection:
        found = interventions.decide_for_any_tenant(
            connection, moderator.actor, _known(video_id), decision=decision, note=values.get("note")
        )
    served.ringer.want(found.video.queue if found.video.state in STAGE_OF_WAITING else DELIVER)
    return _shown(moderator, found)


def _known(video_id: str) -> UUID:
    return wire.known(ids.Kind.VIDEO, video_id, "video_id")


def _shown(caller: Administrator, found: Inspected) -> AdminVideo:
    return video_objects.shown(found, prompts=caller.may(Permission.PROMPTS))
