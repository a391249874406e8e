"""Videos made from others: remix, edits, extensions."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api import bodies, schemas
from api.answers import accepted
from api.bodies import Received
from api.deps import Authenticated, Served
from api.idempotency import Retrying
from api.openapi import FAILURES, body
from api.paths import VIDEO
from domain.video import Operation

router = APIRouter(prefix="/v1", tags=["videos"], responses=FAILURES)


@router.post("/videos/edits", openapi_extra=body(Operation.EDIT))
def edit_video(
    retry: Retrying, served: Served, caller: Authenticated, received: Received, response: Response
) -> schemas.Video | schemas.DryRun:
    """Repaint a clip under a prompt. The result is as long and as large as the clip."""
    return accepted(served, caller, Operation.EDIT, bodies.read(received), response, retry=retry)


@router.post("/videos/extensions", openapi_extra=body(Operation.EXTEND))
def extend_video(
    retry: Retrying, served: Served, caller: Authenticated, received: Received, response: Response
) -> schemas.Video | schemas.DryRun:
    """Go on after a clip's last frame. The result holds the clip and the new seconds; only these are paid for."""
    return accepted(served, caller, Operation.EXTEND, bodies.read(received), response, retry=retry)


@router.post(VIDEO + "/remix", openapi_extra=body(Operation.REMIX))
def remix_video(
    *, retry: Retrying, served: Served, caller: Authenticated, video_id: str, received: Received, response: Response
) -> schemas.Video | schemas.DryRun:
    """The same settings and seed under a new prompt; where the model can, starting from the video itself."""
    values = bodies.read(received)
    return accepted(served, caller, Operation.REMIX, values, response, retry=retry, source_id=video_id)
