"""POST /v1/videos/{id}/feedback: what users think of a video, kept as preference data."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api import bodies
from api.bodies import Received
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from api.parameters import one_of, wrong_type
from api.parameters.refusals import missing, unknown
from api.paths import VIDEO
from api.videos import find
from domain import ids
from domain.errors import Conflict, InvalidRequest
from domain.lifecycle import ACTIVE
from storage import feedback
from storage.feedback import Feedback, Rating

REASON_LIMIT = 2_000
_RATINGS: dict[str, Rating] = {"up": 1, "1": 1, "down": -1, "-1": -1}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["rating"],
    "additionalProperties": False,
    "properties": {
        "rating": {
            "anyOf": [
                {"type": "string", "enum": list(_RATINGS)},
                {"type": "integer", "enum": [1, -1]},
            ],
            "description": "up or 1; down or -1.",
        },
        "reason": {"type": "string", "maxLength": REASON_LIMIT, "description": "In the user's own words."},
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": _SCHEMA} for kind in ("multipart/form-data", "application/json")},
    }
}

router = APIRouter(prefix="/v1", tags=["videos"], responses=FAILURES)


class VideoFeedback(BaseModel):
    """What one key said of one video."""

    object: Literal["video.feedback"] = "video.feedback"
    video_id: str
    rating: Literal["up", "down"]
    reason: str | None
    created_at: int
    updated_at: int


@router.post(VIDEO + "/feedback", openapi_extra=_BODY)
def rate_video(served: Served, caller: Authenticated, video_id: str, received: Received) -> VideoFeedback:
    """Rate a finished video, or change the rating that this key gave it. A video under way is a Conflict."""
    values = bodies.read(received)
    for name in values.keys() - _SCHEMA["properties"].keys():
        unknown(name)
    rating, reason = _rating(values), _reason(values)
    with served.database.transaction(caller.tenant_id) as connection:
        video = find(connection, caller.tenant_id, video_id, lock=True)
        if video.state in ACTIVE:
            raise Conflict("The video is not finished; there is nothing to judge yet.", code="video_unfinished")
        given = feedback.give(connection, caller.tenant_id, video.id, caller.key_id, rating=rating, reason=reason)
    return _public(given)


def _rating(values: dict[str, Any]) -> Rating:
    rating = values.get("rating")
    if rating is None:
        missing("rating")
    if type(rating) is int:
        rating = str(rating)
    if not isinstance(rating, str):
        wrong_type("rating", "a string", rating)
    return _RATINGS[one_of("rating", rating, list(_RATINGS))]


def _reason(values: dict[str, Any]) -> str | None:
    reason = values.get("reason")
    if reason is None:
        return None
    if not isinstance(reason, str):
        wrong_type("reason", "a string", reason)
    if len(reason) > REASON_LIMIT:
        raise InvalidRequest(
            f"Invalid 'reason': string too long. Expected at most {REASON_LIMIT} characters, got {len(reason)}.",
            param="reason",
            code="string_above_max_length",
        )
    return reason.strip() or None


def _public(given: Feedback) -> VideoFeedback:
    return VideoFeedback(
        video_id=ids.public(ids.Kind.VIDEO, given.video_id),
        rating="up" if given.rating == 1 else "down",
        reason=given.reason,
        created_at=int(given.created_at.timestamp()),
        updated_at=int(given.updated_at.timestamp()),
    )
