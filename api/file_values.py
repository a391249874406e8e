"""What an upload of /v1/files says, each value checked, and its bytes as they are kept."""

from __future__ import annotations

import re
from typing import Any, cast

from api import inputs
from api.multipart import Upload
from api.parameters.refusals import missing, one_of, unknown, wrong_type
from api.services import Services
from domain.errors import InvalidRequest
from moderation.media.sniffing import looks_like_a_clip
from storage.files import NewFile
from storage.keys import Caller

NAME_LIMIT = 255
LEAST_SECONDS, MOST_SECONDS = 3_600, 2_592_000  # that `expires_after` may say
BATCH_SECONDS = MOST_SECONDS  # of a file of purpose batch that does not say
_UNNAMEABLE = re.compile(r"[^\w .()+,=@-]", re.UNICODE)
_INTEGER = re.compile(r"\d{1,10}", re.ASCII)
_EXPIRY = {
    "type": "object",
    "properties": {
        "anchor": {"type": "string", "enum": ["created_at"]},
        "seconds": {"type": "integer", "minimum": LEAST_SECONDS, "maximum": MOST_SECONDS},
    },
    "required": ["anchor", "seconds"],
    "additionalProperties": False,
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "purpose": {"type": "string", "enum": ["batch", "vision"]},
                        "expires_after": _EXPIRY,
                    },
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                }
            }
        },
    }
}


def prepared(served: Services, caller: Caller, values: dict[str, Any]) -> tuple[NewFile, bytes]:
    """What is to be kept. Raises InvalidRequest, Unavailable."""
    for name in values:
        if name not in {"file", "purpose", "expires_after"}:
            unknown(name)
    upload, purpose = _upload(values), _purpose(values)
    lives = _lives_seconds(values.get("expires_after"))
    return _of_batch(served, upload, lives) if purpose == "batch" else _of_vision(served, caller, upload, lives)


def _of_vision(served: Services, caller: Caller, upload: Upload, lives: int | None) -> tuple[NewFile, bytes]:
    if looks_like_a_clip(upload.content):
        clip = inputs.clean_clip(served, caller, upload.content, "file", served.settings.clip_seconds)
        kind, facts, content = "video/mp4", clip.facts, clip.mp4
    else:
        picture = inputs.clean(served, caller, upload.content, "file")
        kind, facts, content = "image/png", {"width": picture.width, "height": picture.height}, picture.png
    new = NewFile(purpose="vision", filename=_label(upload), content_type=kind, facts=facts, lives_seconds=lives)
    return new, content


def _of_batch(served: Services, upload: Upload, lives: int | None) -> tuple[NewFile, bytes]:
    _check_lines(served, upload.content)
    lives = BATCH_SECONDS if lives is None else lives
    new = NewFile(purpose="batch", filename=_label(upload), content_type="application/jsonl", lives_seconds=lives)
    return new, upload.content


def _upload(values: dict[str, Any]) -> Upload:
    if "file" not in values:
        missing("file")
    upload = values["file"]
    return upload if isinstance(upload, Upload) else wrong_type("file", "a file", upload)


def _purpose(values: dict[str, Any]) -> str:
    if "purpose" not in values:
        missing("purpose")
    purpose = values["purpose"]
    return one_of(
        "purpose",
        purpose if isinstance(purpose, str) else wrong_type("purpose", "a string", purpose),
        ["batch", "vision"],
    )


def _lives_seconds(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        wrong_type("expires_after", "an object", value)
    given = cast("dict[str, Any]", value)
    if given.keys() != {"anchor", "seconds"} or given["anchor"] != "created_at":
        raise InvalidRequest(
            "'expires_after' takes 'anchor', which must be 'created_at', and 'seconds'.", param="expires_after"
        )
    seconds = given["seconds"]
    if isinstance(seconds, str) and _INTEGER.fullmatch(seconds):  # a form knows text only
        seconds = int(seconds)
    if type(seconds) is not int:
        wrong_type("expires_after.seconds", "an integer", seconds)
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InvalidRequest(
            f"'expires_after.seconds' must be from {LEAST_SECONDS} to {MOST_SECONDS}.", param="expires_after.seconds"
        )
    return seconds


def _check_lines(served: Services, content: bytes) -> None:
    """That these are lines of text; what they say is the batch's business."""
    most = served.settings.batch_file_bytes
    if len(content) > most:
        raise InvalidRequest(f"A file of purpose batch may have at most {most} bytes.", param="file")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or not text.lstrip().startswith("{"):
        raise InvalidRequest("A file of purpose batch must hold lines of JSON objects in UTF-8.", param="file")


def _label(upload: Upload) -> str:
    """The last part of the name as it came, without what could mean something elsewhere."""
    last = re.split(r"[/\\]", upload.filename)[-1]
    return _UNNAMEABLE.sub("_", last).strip()[:NAME_LIMIT] or "file"
