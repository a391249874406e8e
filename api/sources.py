"""What a remix, an edit or an extension works on: a completed video of the tenant, or a clip that comes along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api import inputs
from api.services import Services
from domain import ids
from domain.catalogue import MOST_EXTENSIONS
from domain.errors import InvalidRequest, NotFound
from domain.lifecycle import State
from domain.video import Operation, Size
from storage import outputs, videos
from storage.database import Connection
from storage.keys import Caller
from storage.outputs import Kind
from storage.videos import Video

PARAM = "video"
FORGIVEN_SECONDS = 0.1  # a clip whose last frame or two are missing is as long as it was meant to be


@dataclass(frozen=True, slots=True)
class Source:
    """A clip with its size and length: either a stored video with the key of its file, or the bytes of an upload."""

    size: Size
    seconds: float
    video: Video | None = None
    key: str | None = None
    mp4: bytes | None = None

    @property
    def whole_seconds(self) -> int:
        """Its length for a model, which draws whole seconds: the rest is cut."""
        return int(self.seconds + FORGIVEN_SECONDS)


def of_video(served: Services, caller: Caller, public_id: str, operation: Operation) -> Source:
    """A completed video by its id. Raises NotFound, InvalidRequest."""
    with served.database.transaction(caller.tenant_id) as connection:
        return _of_video(connection, caller, public_id, operation)


def of_clip(served: Services, caller: Caller, reference: Any) -> Source:
    """A clip that came along or was uploaded before, decoded. Raises InvalidRequest, NotFound, Unavailable."""
    clip = inputs.clip(served, caller, PARAM, reference)
    return Source(clip.size, clip.seconds, mp4=clip.mp4)


def _of_video(connection: Connection, caller: Caller, public_id: str, operation: Operation) -> Source:
    try:
        video = videos.find(connection, caller.tenant_id, ids.parse(ids.Kind.VIDEO, public_id))
    except ids.InvalidId:
        video = None
    if video is None:
        raise NotFound(f"Video with id '{public_id[:64]}' not found.", param=PARAM, code="video_not_found")
    if video.state is not State.COMPLETED:
        raise InvalidRequest(
            f"The source video must be completed; it is {video.state}.", param=PARAM, code="video_not_completed"
        )
    file = outputs.find(connection, caller.tenant_id, video.id).get(Kind.VIDEO)
    if file is None:
        raise NotFound("The result of the source video is no longer there.", param=PARAM, code="video_not_found")
    if operation is Operation.EXTEND:
        _check_extensions(connection, caller, video)
    return Source(video.plan.delivered, video.plan.total_seconds, video, file.object_key)


def _check_extensions(connection: Connection, caller: Caller, video: Video) -> None:
    line = videos.ancestry(connection, caller.tenant_id, video.id)
    extended = sum(each.operation is Operation.EXTEND for each in line)
    if extended >= MOST_EXTENSIONS:
        raise InvalidRequest(f"A video can be extended {MOST_EXTENSIONS} times; this one was.", param=PARAM)
