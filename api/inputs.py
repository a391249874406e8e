"""Pictures and clips that come with requests: found, decoded in a confined child, stored as what is left of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn
from uuid import UUID

from api import references
from api.references import FileId, Link
from api.services import Services
from domain import ids
from domain.errors import InvalidRequest, NotFound
from domain.video import Size
from moderation.media.decoder import Picture, Unreadable
from moderation.media.limits import MOST_CLIP_PIXELS, MOST_PICTURE_PIXELS, SLACK_SECONDS, SMALLEST_EDGE, Reason
from storage import files, outputs
from storage.files import File
from storage.keys import Caller

PARAM = "input_reference"
CONTENT_TYPES = {"png": "image/png", "mp4": "video/mp4"}  # by suffix; nothing else is stored
_PICTURE = {
    Reason.UNREADABLE: "The reference could not be read. Supported image formats: jpeg, png, and webp.",
    Reason.TOO_LARGE: f"The reference is too large: at most {MOST_PICTURE_PIXELS} pixels.",
    Reason.TOO_SMALL: f"The reference is too small: its edges must have at least {SMALLEST_EDGE} pixels.",
    Reason.EXPENSIVE: "The reference takes too much time or memory to decode.",
}
_CLIP = {
    Reason.UNREADABLE: "The clip could not be read. Supported are mp4, mov and webm files.",
    Reason.NO_VIDEO: "The clip holds no video. Supported codecs: h264, hevc, vp8, vp9, and av1.",
    Reason.TOO_LARGE: f"The clip is too large: at most {MOST_CLIP_PIXELS} pixels a frame.",
    Reason.TOO_SMALL: f"The clip is too small: its edges must have at least {SMALLEST_EDGE} pixels.",
    Reason.TOO_LONG: "The clip is too long: at most {seconds} seconds.",
    Reason.EXPENSIVE: "The clip takes too much time or memory to decode; make it shorter or smaller.",
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A clean clip: H.264 in MP4, no sound, no metadata."""

    mp4: bytes = field(repr=False)
    size: Size
    seconds: float
    fps: float

    @property
    def facts(self) -> dict[str, Any]:
        """As they stand in the rows of files and characters."""
        return {"width": self.size.width, "height": self.size.height, "seconds": self.seconds, "fps": self.fps}


def picture(served: Services, caller: Caller, param: str, reference: Any, size: Size | None) -> bytes:
    """The reference (Upload, {image_url} or {file_id}) as clean PNG of exactly this size; None: of any size.

    Raises InvalidRequest that names `param`, NotFound, Unavailable.
    """
    source = references.picture(param, reference)
    match source:
        case FileId():
            return _stored_picture(served, caller, param, source, size)
        case Link():
            content = served.fetcher.picture(caller.tenant_id, param, source.url)
            return clean(served, caller, content, param, size).png
        case bytes():
            return clean(served, caller, source, param, size).png


def clip(served: Services, caller: Caller, param: str, reference: Any, most_seconds: float | None = None) -> Clip:
    """The reference (Upload or {file_id}) as clean clip of at most so many seconds; None: what the setting allows.

    Raises InvalidRequest that names `param`, NotFound, Unavailable.
    """
    source = references.clip(param, reference)
    most_seconds = served.settings.clip_seconds if most_seconds is None else most_seconds
    if isinstance(source, FileId):
        return _stored_clip(served, caller, param, source, most_seconds)
    return clean_clip(served, caller, source, param, most_seconds)


def store(served: Services, tenant_id: UUID, video_id: UUID, name: str, content: bytes) -> str:
    """Write the key down, then put the bytes: the key. Whatever fails afterwards, the sweeper finds them.

    `name` tells a video's inputs apart, and what they are: `first_frame.png`, `source.mp4`. `outputs.adopt_input`
    keeps them. Raises Unavailable.
    """
    key = outputs.input_key(tenant_id, video_id, name)
    with served.gate.entered():
        with served.database.transaction(tenant_id) as connection:
            outputs.register_input(connection, tenant_id, video_id, key)
        served.objects.put(key, content, CONTENT_TYPES[name.rpartition(".")[2]])
    return key


def clean(served: Services, caller: Caller, content: bytes, param: str, size: Size | None = None) -> Picture:
    """The picture made anew from its pixels. Raises InvalidRequest, Unavailable."""
    exactly = None if size is None else (size.width, size.height)
    made = served.decoding.picture(caller.tenant_id, content, exactly)
    if isinstance(made, Picture):
        return made
    if made.reason is Reason.MISMATCH:
        _refuse_mismatch()
    raise InvalidRequest(_PICTURE.get(made.reason, _PICTURE[Reason.UNREADABLE]), param=param)


def clean_clip(served: Services, caller: Caller, content: bytes, param: str, most_seconds: float) -> Clip:
    """The clip made anew from its pictures. Raises InvalidRequest, Unavailable."""
    made = served.decoding.clip(caller.tenant_id, content, most_seconds)
    if isinstance(made, Unreadable):
        message = _CLIP.get(made.reason, _CLIP[Reason.UNREADABLE]).format(seconds=f"{most_seconds:g}")
        raise InvalidRequest(message, param=param)
    return Clip(made.mp4, Size(made.width, made.height), made.seconds, made.fps)


def find_file(served: Services, caller: Caller, param: str, file_id: str) -> File:
    """A file of the caller's tenant by its public id. Raises NotFound."""
    try:
        with served.database.transaction(caller.tenant_id) as connection:
            file = files.find(connection, caller.tenant_id, ids.parse(ids.Kind.FILE, file_id))
    except ids.InvalidId:
        file = None
    if file is None:
        raise NotFound(f"File with id '{file_id[:64]}' not found.", param=param, code="file_not_found")
    return file


def _stored_picture(served: Services, caller: Caller, param: str, source: FileId, size: Size | None) -> bytes:
    file = find_file(served, caller, param, source.id)
    facts = _facts(file, param, "image/png", "a picture")
    if size is not None and (facts["width"], facts["height"]) != (size.width, size.height):
        _refuse_mismatch()
    return _read(served, file)


def _stored_clip(served: Services, caller: Caller, param: str, source: FileId, most_seconds: float) -> Clip:
    file = find_file(served, caller, param, source.id)
    facts = _facts(file, param, "video/mp4", "a clip")
    if facts["seconds"] > most_seconds + SLACK_SECONDS:
        raise InvalidRequest(_CLIP[Reason.TOO_LONG].format(seconds=f"{most_seconds:g}"), param=param)
    return Clip(_read(served, file), Size(facts["width"], facts["height"]), facts["seconds"], facts["fps"])


def _facts(file: File, param: str, kind: Literal["image/png", "video/mp4"], called: str) -> dict[str, Any]:
    if file.purpose != "vision" or file.content_type != kind or file.facts is None:
        raise InvalidRequest(f"'{param}.file_id' must name {called}, uploaded with purpose vision.", param=param)
    return file.facts


def _read(served: Services, file: File) -> bytes:
    """It was made anew at its upload, so it is taken as it is."""
    with served.gate.entered():
        return served.objects.read(file.object_key)


def _refuse_mismatch() -> NoReturn:
    mismatch = InvalidRequest("Inpaint image must match the requested width and height")
    mismatch.code = None  # as OpenAI answers it
    raise mismatch
