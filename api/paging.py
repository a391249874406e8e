"""Pages of lists, as OpenAI cuts them: by the id that the page follows."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, Self, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from domain import ids
from domain.errors import InvalidRequest

After = Annotated[str | None, Query(description="The id that the page follows.")]
Limit = Annotated[int, Query(ge=0, le=100)]


class Named(BaseModel):
    """An object of a page."""

    id: str


Shown = TypeVar("Shown", bound=Named)


class Page(BaseModel, Generic[Shown]):
    """A page, newest first; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[Shown]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, data: list[Shown], *, more: bool) -> Self:
        """The page of these; `more` follow it."""
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return cls(data=data, first_id=first, last_id=last, has_more=more)


def named(kind: ids.Kind, public_id: str | None, param: str = "after") -> UUID | None:
    """The id in a query, if there is one. Raises InvalidRequest."""
    if not public_id:
        return None
    try:
        return ids.parse(kind, public_id)
    except ids.InvalidId:
        thing = kind.name.lower().replace("_", " ")
        article = "an" if thing[0] in "aeiou" else "a"
        raise InvalidRequest(f"'{param}' must be the id of {article} {thing}.", param=param) from None
