"""multipart/form-data into a plain dict: ``a[b]=1``, ``a[]=1``, ``a[][b]=1`` as OpenAI's clients write nested values.

Brackets lose the borders between the objects of a list: a new object begins where a key repeats.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from domain.errors import InvalidRequest

MOST_PARTS = 256
MOST_DEPTH = 6
CHUNK_BYTES = 1 << 18
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_LIST = ""  # the key in `[]`
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # a client's mistakes are told to the client


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form. Its declared type is not to be believed, so it is not kept; its name is a label, no more."""

    content: bytes = field(repr=False)
    filename: str = field(default="", compare=False)


def read(content_type: str, file: IO[bytes]) -> dict[str, Any]:
    """Fields as text, nested by their brackets; files as Upload. Raises InvalidRequest."""
    found: dict[str, Any] = {}
    count = 0
    complete = False

    def add(name: bytes | None, value: str | Upload) -> None:
        nonlocal count
        count += 1
        if count > MOST_PARTS:
            raise InvalidRequest("The form has too many parts.")
        path = _path(_text(name or b"", None))
        _insert(found, path, value, path[0][:64])

    def on_field(part: Field) -> None:
        add(part.field_name, _text(part.value or b"", part.field_name))

    def on_file(part: File) -> None:
        name = (part.file_name or b"").decode(errors="replace")
        add(part.field_name, Upload(cast("BytesIO", part.file_object).getvalue(), name))

    def on_end() -> None:
        nonlocal complete
        complete = True

    _, options = parse_options_header(content_type)
    try:
        parser = FormParser(
            "multipart/form-data",
            on_field,
            on_file,
            on_end,
            boundary=options.get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": float("inf")},
        )
        while chunk := file.read(CHUNK_BYTES):
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        complete = False
    if not complete:
        raise InvalidRequest("We could not parse the multipart form of your request.")
    return found


def _text(value: bytes, name: bytes | None) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        shown = None if name is None else name.decode(errors="replace")[:64]
        raise InvalidRequest("The form contains text that is not UTF-8.", param=shown) from None


def _path(name: str) -> list[str]:
    match = _NAME.fullmatch(name)
    path = [] if match is None else [match[1], *_BRACKET.findall(match[2])]
    if not 1 <= len(path) <= MOST_DEPTH or "[][]" in name:
        raise InvalidRequest("A part of the form has a malformed name.", param=name[:64])
    return path


def _insert(into: dict[str, Any], path: list[str], value: str | Upload, param: str) -> None:
    """Put the value at its path below an object; `param` is named when it does not fit."""
    key, rest = path[0], path[1:]
    if not rest:
        if key in into:
            raise InvalidRequest(f"Duplicate parameter: '{param}'.", param=param)
        into[key] = value
        return
    child: Any = into.setdefault(key, [] if rest[0] == _LIST else {})
    if rest[0] == _LIST and isinstance(child, list):
        _append(cast("list[Any]", child), rest[1:], value, param)
    elif rest[0] != _LIST and isinstance(child, dict):
        _insert(cast("dict[str, Any]", child), rest, value, param)
    else:
        raise InvalidRequest(f"'{param}' is given in two different forms.", param=param)


def _append(items: list[Any], path: list[str], value: str | Upload, param: str) -> None:
    if not path:
        items.append(value)
        return
    if not items or not _has_room(items[-1], path):
        items.append({})
    _insert(items[-1], path, value, param)


def _has_room(item: Any, path: list[str]) -> bool:
    """Whether the value can still belong to this object, or a new one begins."""
    if not isinstance(item, dict):
        return False
    known = cast("dict[str, Any]", item)
    if path[0] not in known:
        return True
    if len(path) > 1 and path[1] == _LIST:
        return isinstance(known[path[0]], list)
    return len(path) > 1 and _has_room(known[path[0]], path[1:])
