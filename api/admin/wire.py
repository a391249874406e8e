"""What the resources of the admin API share on the wire: bodies, ids, times, pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request
from starlette.exceptions import HTTPException

from api import bodies
from api.bodies import Body
from api.deps import Bearer, Served
from api.errors import InvalidApiKey
from api.paging import Page, Shown
from domain import ids
from domain.errors import InvalidRequest, NotFound
from domain.fields import Fields, schema

MOST_BYTES = 1 << 20

Limit = Annotated[int, Query(ge=0, le=200, description="Entries of a page.")]
Moment = Annotated[int | None, Query(ge=0, le=253_402_300_799, description="Seconds since 1970.")]


Row = TypeVar("Row")


def page(found: tuple[Sequence[Row], bool], show: Callable[[Row], Shown]) -> Page[Shown]:
    """Rows as a page of what `show` makes of them; each has an `id`."""
    rows, has_more = found
    return Page[Shown].of([show(row) for row in rows], more=has_more)


def require_key(served: Served, key: Bearer) -> None:
    """Nobody without an admin key gets to send a body; the role is another dependency's concern."""
    if served.admins.identify(key) is None:
        raise InvalidApiKey("Incorrect admin key provided.")


async def receive(request: Request, _known: Annotated[None, Depends(require_key)]) -> AsyncGenerator[Body]:
    """Take the body, within its limit."""
    async with bodies.within(request, MOST_BYTES) as body:
        yield body


Received = Annotated[Body, Depends(receive)]


def read(body: Body) -> dict[str, Any]:
    """The parameters, nulls kept; an empty body has none. Raises InvalidRequest; anything but JSON is 415."""
    raw = body.file.read()
    if not raw:
        return {}
    if body.content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send the parameters as application/json.")
    return bodies.parse(raw, nulls=True)


def described(fields: Fields, required: tuple[str, ...] = (), *, optional: bool = False) -> dict[str, Any]:
    """The request body for the OpenAPI document, from the table that also checks it."""
    content = {"application/json": {"schema": schema(fields, required)}}
    return {"requestBody": {"required": not optional, "content": content}}


def known(kind: ids.Kind, public_id: str, param: str) -> UUID:
    """The id in a path. Raises NotFound."""
    try:
        return ids.parse(kind, public_id)
    except ids.InvalidId:
        code = f"{param.removesuffix('_id')}_not_found"
        raise NotFound(f"There is no '{public_id[:64]}'.", param=param, code=code) from None


def seconds(at: datetime | None) -> int | None:
    """A moment as OpenAI writes it."""
    return None if at is None else int(at.timestamp())


def moment(at: int | None) -> datetime | None:
    """The inverse."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


def clean(text: str | None) -> str | None:
    """A text in a query as Postgres can compare it. Raises InvalidRequest."""
    if text is not None and "\0" in text:
        raise InvalidRequest("A filter contains characters that are not allowed.")
    return text
