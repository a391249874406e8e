"""How a request names a picture or a clip: a file of the form, an object with `image_url`, or one with `file_id`.

Only the words are judged here; nothing is fetched. There is no way to say a path of the server.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any, cast

from api.multipart import Upload
from api.parameters import wrong_type
from domain.errors import InvalidRequest

URL_LIMIT = 20_971_520
WEB = ("http://", "https://")
_DATA_URL = re.compile(r"data:image/(?:jpeg|jpg|png|webp);base64,", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """A picture on the web."""

    url: str


@dataclass(frozen=True, slots=True)
class FileId:
    """A file that was uploaded before, by its public id."""

    id: str


def picture(param: str, reference: Any) -> bytes | Link | FileId:
    """Where the picture comes from; the bytes if they came along. Raises InvalidRequest."""
    if isinstance(reference, Upload):
        return reference.content
    given = _object(param, reference)
    if len(given) != 1 or not given.keys() <= {"image_url", "file_id"}:
        raise InvalidRequest(f"'{param}' takes exactly one of image_url and file_id.", param=param)
    if "file_id" in given:
        return _file_id(param, given["file_id"])
    return _of_url(given["image_url"], param)


def clip(param: str, reference: Any) -> bytes | FileId:
    """Where the clip comes from; the bytes if they came along. Raises InvalidRequest."""
    if isinstance(reference, Upload):
        return reference.content
    given = _object(param, reference)
    if given.keys() != {"file_id"}:
        raise InvalidRequest(f"'{param}' takes a file or a file_id.", param=param)
    return _file_id(param, given["file_id"])


def _object(param: str, reference: Any) -> dict[str, Any]:
    if not isinstance(reference, dict):
        wrong_type(param, "a file or an object", reference)
    return cast("dict[str, Any]", reference)


def _file_id(param: str, value: Any) -> FileId:
    return FileId(value) if isinstance(value, str) else wrong_type(f"{param}.file_id", "a string", value)


def _of_url(url: Any, param: str) -> bytes | Link:
    if not isinstance(url, str):
        wrong_type(f"{param}.image_url", "a string", url)
    if url[:8].lower().startswith(WEB):
        return Link(url)
    start = _DATA_URL.match(url)
    if start is None or len(url) > URL_LIMIT:
        raise InvalidRequest(
            f"'{param}.image_url' must be an https URL or a base64 data URL of a jpeg, png or webp image, "
            f"at most {URL_LIMIT} characters long.",
            param=param,
        )
    try:
        return base64.b64decode(url[start.end() :], validate=True)
    except ValueError:  # binascii.Error is one; text beyond ASCII is another
        raise InvalidRequest(f"'{param}.image_url' is not valid base64.", param=param) from None
