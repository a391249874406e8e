"""Bodies of POSTs: received within limits, then read into one plain dict, whichever of three encodings they have.

JSON; multipart with brackets; multipart with JSON strings. Files are `Upload` values of the same dict. Every failure
of a body is known here, so that endpoints meet clean text only.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any, NoReturn, cast

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from api import multipart, parameters
from api.deps import Authenticated, Served
from domain.errors import InvalidRequest

IN_MEMORY_BYTES = 1 << 20  # of one body; the rest lies on disk until a thread reads it
PATIENCE_SECONDS = 120.0
MOST_JSON_MARKS = 100_000  # 25 ms to parse; the 11 million of a full body would block the process for 8 s
MOST_DEPTH = 64  # what is stored must be read again: parsers and writers of JSON bear a thousand levels, not all alike
_TOO_MANY = f"has too many elements: it may contain '[', '{{' and ',' at most {MOST_JSON_MARKS} times."


@dataclass(frozen=True, slots=True)
class Body:
    """A received body, not yet read."""

    content_type: str
    file: IO[bytes]


async def receive(request: Request, served: Served, _caller: Authenticated) -> AsyncGenerator[Body]:
    """Take the body of a known caller. Too long is 413, too slow 408; both end before all of it is read."""
    async with within(request, served.settings.max_upload_bytes) as body:
        yield body


@asynccontextmanager
async def within(request: Request, limit: int, patience: float = PATIENCE_SECONDS) -> AsyncGenerator[Body]:
    """The body, which may have `limit` bytes and take `patience` seconds, as long as the block lasts."""
    if int(request.headers.get("content-length") or 0) > limit:
        _too_large(limit)
    with SpooledTemporaryFile[bytes](IN_MEMORY_BYTES) as file:
        try:
            async with asyncio.timeout(patience):
                async for chunk in request.stream():
                    if file.tell() + len(chunk) > limit:
                        _too_large(limit)
                    file.write(chunk)
        except TimeoutError:
            raise HTTPException(408, "The request body did not arrive in time.") from None
        file.seek(0)
        yield Body(request.headers.get("content-type", ""), file)


Received = Annotated[Body, Depends(receive)]


def read(body: Body) -> dict[str, Any]:
    """All parameters by name, absent ones left out. Raises InvalidRequest; any other encoding is 415."""
    kind = body.content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return parse(body.file.read())
    if kind == "multipart/form-data":
        parts = multipart.read(body.content_type, body.file)
        return _clean_values({name: _structured(name, value) for name, value in parts.items()})
    raise HTTPException(415, "Send the parameters as multipart/form-data or as application/json.")


def parse(raw: bytes, *, nulls: bool = False) -> dict[str, Any]:
    """One JSON object, as `read` takes it; with `nulls` they are kept. Raises InvalidRequest."""
    if _marks(raw) > MOST_JSON_MARKS:
        raise InvalidRequest(f"The JSON body of your request {_TOO_MANY}")
    try:
        values = _load(raw)
    except _Unfit as unfit:
        raise InvalidRequest(f"The JSON body of your request {unfit}") from None
    except (ValueError, RecursionError):
        raise InvalidRequest("We could not parse the JSON body of your request.") from None
    if not isinstance(values, dict):
        raise InvalidRequest("The JSON body of your request must be an object.")
    given = cast("dict[str, Any]", values)
    clean = _clean_values(given)
    return given if nulls else clean


def _clean_values(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if not _clean([name, value]):
            raise InvalidRequest(
                f"'{_printable(name)}' contains characters that are not allowed.", param=_printable(name)
            )
    return present(values)


def present(values: dict[str, Any]) -> dict[str, Any]:
    """Without the parameters that are null: they are as good as absent."""
    return {name: value for name, value in values.items() if value is not None}


def _marks(raw: bytes) -> int:
    """An upper bound of its elements, without parsing. Base64 has none, so a picture of any size may be inside."""
    return sum(map(raw.count, (b"[", b"{", b",")))


class _Unfit(ValueError):
    """JSON that is well formed, and yet cannot be stored; the text goes on after its name."""


def _load(raw: bytes | str) -> Any:
    """Its value. Raises _Unfit, ValueError, RecursionError."""
    value = json.loads(raw, parse_constant=_refuse_number, parse_float=_number)
    layer, depth = [value], 0
    while layer := [part for each in layer for part in _parts(each)]:
        depth += 1
        if depth > MOST_DEPTH:
            raise _Unfit(f"is nested too deeply: at most {MOST_DEPTH} levels are accepted.")
    return value


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise _Unfit(f"contains a number that is not finite: {text[:32]}.")


def _structured(name: str, value: Any) -> Any:
    if name not in parameters.STRUCTURED or not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    if _marks(value.encode()) > MOST_JSON_MARKS:
        raise InvalidRequest(f"'{name}' {_TOO_MANY}", param=name)
    try:
        return _load(value)
    except _Unfit as unfit:
        raise InvalidRequest(f"'{name}' {unfit}", param=name) from None
    except (ValueError, RecursionError):
        raise InvalidRequest(f"'{name}' is not valid JSON.", param=name) from None


def _clean(value: Any) -> bool:
    """No NUL and no lone surrogate anywhere: neither can be stored as text."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str) and ("\0" in part or not _encodes(part)):
            return False
    return True


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return name.replace("\0", "").encode(errors="replace").decode()[:64]


def _too_large(limit: int) -> NoReturn:
    raise HTTPException(413, f"The request is too large: at most {limit} bytes are accepted.")
