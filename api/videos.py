"""/v1/videos: create, list, retrieve, cancel, delete."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Response

from api import bodies, paging, schemas
from api.answers import accepted, with_estimate
from api.bodies import Received
from api.deps import Authenticated, Served
from api.idempotency import Retrying
from api.openapi import FAILURES, body
from api.paging import After, Limit
from api.paths import VIDEO
from domain import ids
from domain.errors import Conflict, NotFound
from domain.lifecycle import ACTIVE, TERMINAL, State
from domain.video import Operation
from storage import interventions, videos
from storage.database import Connection
from storage.forgetting import forget
from storage.hints import DELIVER
from storage.videos import Video

router = APIRouter(prefix="/v1", tags=["videos"], responses=FAILURES)


@router.post("/videos", openapi_extra=body(Operation.CREATE))
def create_video(
    retry: Retrying, served: Served, caller: Authenticated, received: Received, response: Response
) -> schemas.Video | schemas.DryRun:
    """Accept a video. It is stored and paid for when this answers; the work follows."""
    return accepted(served, caller, Operation.CREATE, bodies.read(received), response, retry=retry)


@router.get("/videos")
def list_videos(
    served: Served,
    caller: Authenticated,
    after: After = None,
    limit: Limit = 20,
    order: Literal["asc", "desc"] = "desc",
) -> schemas.VideoList:
    """A page of the caller's videos by creation. `queue_position` and `eta` are left out here."""
    cursor = paging.named(ids.Kind.VIDEO, after)
    with served.database.transaction(caller.tenant_id) as connection:
        page = videos.page(connection, caller.tenant_id, after=cursor, limit=limit, order=order)
    return schemas.page(page)


@router.get(VIDEO)
def retrieve_video(served: Served, caller: Authenticated, video_id: str, response: Response) -> schemas.Video:
    """One video; `openai-poll-after-ms` says when to ask again."""
    with served.database.transaction(caller.tenant_id) as connection:
        video = find(connection, caller.tenant_id, video_id)
        served.retrievals.note(connection, caller.tenant_id, video_id, video.created_at)
    return with_estimate(served, video, response)


@router.post(VIDEO + "/cancel")
def cancel_video(served: Served, caller: Authenticated, video_id: str) -> schemas.Video:
    """Stop the video and keep its row: failed, code `cancelled`. A finished one is a Conflict."""
    with served.database.transaction(caller.tenant_id) as connection:
        video = find(connection, caller.tenant_id, video_id, lock=True)
        if video.state in TERMINAL - {State.CANCELLED}:
            raise Conflict("The video is finished; it can no longer be cancelled.", code="video_finished")
        if video.state in ACTIVE:
            cancel(connection, video, announce=True)
            video = find(connection, caller.tenant_id, video_id)
    served.ringer.want(DELIVER)
    return schemas.video(video)


@router.delete(VIDEO)
def delete_video(served: Served, caller: Authenticated, video_id: str) -> schemas.DeletedVideo:
    """Stop the video if it runs, take its results away, forget what was written for it. No webhook is sent."""
    with served.database.transaction(caller.tenant_id) as connection:
        video = find(connection, caller.tenant_id, video_id, lock=True)
        forget(connection, caller.tenant_id, video.id)
        if video.state in ACTIVE:
            cancel(connection, video, announce=False)
    return schemas.DeletedVideo(id=video_id)


def find(connection: Connection, tenant_id: UUID, video_id: str, *, lock: bool = False) -> Video:
    """The tenant's video by its public id. Raises NotFound, for somebody else's too."""
    try:
        video = videos.find(connection, tenant_id, ids.parse(ids.Kind.VIDEO, video_id), lock=lock)
    except ids.InvalidId:
        video = None
    if video is None:
        raise NotFound(f"Video with id '{video_id[:64]}' not found.", param="video_id", code="video_not_found")
    return video


def cancel(connection: Connection, video: Video, *, announce: bool) -> None:
    """Stop a living video whose row is locked, so that state and fence are what was just read."""
    interventions.end(connection, video.tenant_id, video, announce=announce)
