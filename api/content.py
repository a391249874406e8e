"""GET /v1/videos/{id}/content: the files of a completed video, whole or in part, or a link to them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from api import errors, ranges
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from api.paths import VIDEO
from api.ranges import Range
from api.services import Services
from api.videos import find
from domain.errors import NotFound
from storage import outputs
from storage.keys import Caller
from storage.outputs import SUFFIXES, Kind, Output
from storage.videos import Video

LINK_SECONDS = 300
LOST = "content_lost"

router = APIRouter(prefix="/v1", tags=["videos"], responses=FAILURES)
_FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": {content_type: {} for content_type in outputs.CONTENT_TYPES.values()}},
    206: {"description": "The asked bytes"},
    302: {"description": "A link to the file, where clients reach the object store"},
    304: {"description": "The client has it"},
}


@router.head(VIDEO + "/content", include_in_schema=False)
@router.get(VIDEO + "/content", response_class=Response, responses=_FILES)
async def download(
    *,
    request: Request,
    served: Served,
    caller: Authenticated,
    video_id: str,
    variant: Annotated[Kind, Query()] = Kind.VIDEO,
    if_none_match: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """The file. 404 unless the video is completed."""
    output, lasts_seconds = await run_sync(_output, served, caller, video_id, variant)
    headers = _headers(output, video_id)
    if ranges.matches(if_none_match, headers["etag"]):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return _with_length(Response(headers=headers, media_type=output.content_type), output.bytes)
    link = served.objects.link(output.object_key, min(LINK_SECONDS, lasts_seconds))
    if link is not None:
        return RedirectResponse(link, 302, {"cache-control": "no-store"})
    asked = request.headers.get("range") if if_range in {None, headers["etag"]} else None
    try:
        return await _stream(served, output, headers, ranges.parse(asked, output.bytes))
    except NotFound:
        raise _lost(video_id) from None
    except ranges.Unsatisfiable:
        outside = {"content-range": f"bytes */{output.bytes}"}
        return errors.body(416, "The range lies outside of the file.", param="range", headers=outside)


def _output(served: Services, caller: Caller, video_id: str, variant: Kind) -> tuple[Output, int]:
    """The file, and for how many seconds it is still there."""
    with served.database.transaction(caller.tenant_id) as connection:
        video = find(connection, caller.tenant_id, video_id)
        output = outputs.find(connection, caller.tenant_id, video.id).get(variant)
    if video.error_code == LOST:
        raise _lost(video_id)
    if output is None:
        raise NotFound(f"Video with id '{video_id}' has no content yet.", param="video_id", code="content_not_found")
    return output, _lasts(video)


def _lost(video_id: str) -> NotFound:
    return NotFound(f"The files of video '{video_id}' were lost and cannot be had.", param="video_id", code=LOST)


def _lasts(video: Video) -> int:
    if video.expires_at is None:
        return LINK_SECONDS
    return max(1, int((video.expires_at - datetime.now(UTC)).total_seconds()))


def _headers(output: Output, video_id: str) -> dict[str, str]:
    return {
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": f'inline; filename="{video_id}.{SUFFIXES[output.kind]}"',
        "etag": f'"{output.sha256.hex()}"',
        "x-content-type-options": "nosniff",
    }


async def _stream(served: Services, output: Output, headers: dict[str, str], part: Range | None) -> Response:
    span = () if part is None else (part.first, part.last)
    body = await served.gate.begun(partial(served.objects.get, output.object_key, *span))
    if part is None:
        return _with_length(StreamingResponse(body, 200, headers, output.content_type), output.bytes)
    headers = {**headers, "content-range": f"bytes {part.first}-{part.last}/{output.bytes}"}
    return _with_length(StreamingResponse(body, 206, headers, output.content_type), part.length)


def _with_length(response: Response, length: int) -> Response:
    response.headers["content-length"] = str(length)
    return response
