"""/admin/v1/feedback: what users think of their videos, kept as preference data."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api import paging
from api.admin import wire
from api.admin.access import Reader
from api.admin.wire import Limit
from api.deps import Served
from domain import ids
from domain.administration import Permission
from domain.usage import moment
from storage import feedback

router = APIRouter()


class Feedback(BaseModel):
    """One rating by one key. `reason` is null for roles that may not read prompts: users write into it."""

    object: Literal["feedback"] = "feedback"
    video_id: str
    tenant_id: str
    key_id: str
    rating: Literal[-1, 1]
    reason: str | None
    model: str
    video_deleted: bool
    created_at: int
    updated_at: int


class FeedbackPage(BaseModel):
    """Ratings, the latest change first. `before` asks for the next page."""

    object: Literal["list"] = "list"
    data: list[Feedback]
    has_more: bool
    before: str | None


@router.get("/feedback")
def list_feedback(
    served: Served,
    reader: Reader,
    *,
    tenant: Annotated[str | None, Query(description="One tenant's id; else all.")] = None,
    rating: Annotated[Literal["-1", "1"] | None, Query(description="Only these.")] = None,
    model: Annotated[str | None, Query(description="The resolved name.")] = None,
    before: Annotated[str | None, Query(description="What the page before gave, or any ISO 8601 time.")] = None,
    limit: Limit = 20,
) -> FeedbackPage:
    """Ratings of all tenants."""
    with served.database.transaction_for_any_tenant() as connection:
        found = feedback.list_for_any_tenant(
            connection,
            limit=limit + 1,
            before=None if not before else moment(before, "before"),
            tenant_id=paging.named(ids.Kind.TENANT, tenant, "tenant"),
            rating=None if rating is None else (1 if rating == "1" else -1),
            model=wire.clean(model),
        )
    shown, more = found[:limit], len(found) > limit
    return FeedbackPage(
        data=[_shown(each, words=reader.may(Permission.PROMPTS)) for each in shown],
        has_more=more,
        before=shown[-1].feedback.updated_at.isoformat() if more and shown else None,
    )


def _shown(found: feedback.Preference, *, words: bool) -> Feedback:
    given = found.feedback
    return Feedback(
        video_id=ids.public(ids.Kind.VIDEO, given.video_id),
        tenant_id=ids.public(ids.Kind.TENANT, given.tenant_id),
        key_id=ids.public(ids.Kind.KEY, given.key_id),
        rating=given.rating,
        reason=given.reason if words else None,
        model=found.model,
        video_deleted=found.deleted,
        created_at=int(given.created_at.timestamp()),
        updated_at=int(given.updated_at.timestamp()),
    )
