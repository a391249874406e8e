"""GET /v1/videos/{id}/events: what happens to a video, as server-sent events.

Every event of the video's history is sent once, under its sequence as `id`; progress comes in between without one, so
that `Last-Event-ID` always names an event. All of it is in Postgres: any process can go on where another stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.types import Message, Send

from api import schemas
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from api.paths import VIDEO
from api.services import Services
from api.streams import Watch
from api.videos import find
from domain import ids
from domain.lifecycle import TERMINAL, PublicStatus, State, public_status
from storage import progress, videos
from storage.outages import OUTAGES
from storage.progress import Event

HEARTBEAT_SECONDS = 15.0
SLOW_SECONDS = 30.0  # a client that takes nothing for so long is given up
RETRY_MS = 2_000

router = APIRouter(prefix="/v1", tags=["videos"], responses=FAILURES)
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "Everything was sent before: do not connect again"},
}


class StageEvent(BaseModel):
    """The video came to another stage."""

    id: str
    status: PublicStatus
    stage: State
    sequence: int
    at: int  # unix seconds


class ProgressEvent(BaseModel):
    """How far it is, or how many go first while it waits."""

    id: str
    status: PublicStatus
    stage: State
    progress: int
    queue_position: int | None


@dataclass(frozen=True, slots=True)
class Start:
    """Which video, and the last event that its client knows of; `over` if that was the video's end."""

    video_id: UUID
    cursor: int
    over: bool


def start(
    served: Served,
    caller: Authenticated,
    video_id: str,
    last_event_id: Annotated[str, Header(pattern=r"^[0-9]{0,18}$", description="As `EventSource` sends it.")] = "",
    after: Annotated[int, Query(ge=0, description="The same, for clients that cannot set a header.")] = 0,
) -> Start:
    """Where the stream begins. Raises NotFound, for somebody else's video too."""
    with served.database.transaction(caller.tenant_id) as connection:
        video = find(connection, caller.tenant_id, video_id)
        newest = progress.last_event(connection, caller.tenant_id, video.id)
        served.retrievals.note(connection, caller.tenant_id, video_id, video.created_at)
    cursor = min(int(last_event_id or after), newest)
    return Start(video.id, cursor, video.state in TERMINAL and cursor == newest)


Started = Annotated[Start, Depends(start)]


async def join(served: Served, caller: Authenticated, begin: Started) -> AsyncGenerator[Watch | None]:
    """A place among the open streams, until the answer is over. None if there is nothing to send."""
    if begin.over:
        yield None
        return
    async with served.streams.watching(caller, begin.video_id) as watch:
        yield watch


class _Stream(EventSourceResponse):
    """Gives a client up that reads nothing, so that it does not keep its place."""

    async def stream_response(self, send: Send) -> None:
        async def patiently(message: Message) -> None:
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        await super().stream_response(patiently)


@router.get(VIDEO + "/events", response_class=Response, responses=_ANSWERS)
async def stream_events(served: Served, begin: Started, watch: Annotated[Watch | None, Depends(join)]) -> Response:
    """Events from the beginning or after `Last-Event-ID`, then live; ends with the video's end."""
    if watch is None:
        return Response(status_code=204)  # tells an EventSource not to come back
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return _Stream(_stream(served, watch, begin.cursor), headers=headers)


async def _stream(served: Services, watch: Watch, cursor: int) -> AsyncGenerator[bytes]:
    """What the client does not know yet, whenever there is any. A slow client gets the newest progress only."""
    yield format_sse_event(retry=RETRY_MS)
    shown: ProgressEvent | None = None
    while not watch.over:
        if watch.seen.gone:
            yield _deleted(watch)
            return
        for event in watch.seen.events[cursor:]:
            if event.type in TERMINAL:
                last = await _end(served, watch, event)
                if last is not None:
                    yield last
                return
            cursor = event.seq
            yield _stage(watch, event)
        newest = _progress(watch)
        if newest is not None and newest != shown:
            shown = newest
            yield format_sse_event(event="video.progress", data_str=newest.model_dump_json())
        if not await watch.news(HEARTBEAT_SECONDS):
            yield format_sse_event(comment="waiting")


def _stage(watch: Watch, event: Event) -> bytes:
    state = State(event.type)
    data = StageEvent(
        id=_public(watch), status=public_status(state), stage=state, sequence=event.seq, at=_seconds(event.at)
    )
    return format_sse_event(event="video.stage", data_str=data.model_dump_json(), id=str(event.seq))


def _progress(watch: Watch) -> ProgressEvent | None:
    """None before the first look, and for a video that is over."""
    if not watch.seen.events or watch.seen.events[-1].type in TERMINAL:
        return None
    state = State(watch.seen.events[-1].type)
    return ProgressEvent(
        id=_public(watch),
        status=public_status(state),
        stage=state,
        progress=watch.seen.progress,
        queue_position=watch.seen.queue_position if watch.seen.waits else None,
    )


async def _end(served: Services, watch: Watch, event: Event) -> bytes | None:
    """The whole video, under the name of the webhook for it. None if the client must ask again for it."""
    try:
        video = await run_sync(_read, served, watch)
    except OUTAGES:
        return None
    if video is None:
        return _deleted(watch)
    public = schemas.video(video)
    return format_sse_event(event=f"video.{public.status}", data_str=public.model_dump_json(), id=str(event.seq))


def _read(served: Services, watch: Watch) -> videos.Video | None:
    with served.database.transaction(watch.caller.tenant_id) as connection:
        return videos.find(connection, watch.caller.tenant_id, watch.video_id)


def _deleted(watch: Watch) -> bytes:
    data = schemas.DeletedVideo(id=_public(watch))
    return format_sse_event(event="video.deleted", data_str=data.model_dump_json())


def _public(watch: Watch) -> str:
    return ids.public(ids.Kind.VIDEO, watch.video_id)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
