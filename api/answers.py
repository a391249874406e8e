"""Videos as answers: with what is known of their end, and when to ask again."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Response

from api import attachments, planning, schemas
from api.estimates import Estimate
from api.idempotency import Retry, attempt
from api.parameters import asks_dry_run
from api.services import Services
from api.submission import submit
from domain import eta
from domain.lifecycle import ACTIVE
from domain.video import Operation
from storage.keys import Caller
from storage.outages import OUTAGES
from storage.videos import Video

log = logging.getLogger(__name__)


def accepted(
    served: Services,
    caller: Caller,
    operation: Operation,
    values: dict[str, Any],
    response: Response,
    *,
    retry: Retry,
    source_id: str | None = None,
) -> schemas.Video | schemas.DryRun:
    """The answer to a call that makes a video, or that only asks what it would make."""
    if asks_dry_run(values):
        prepared = planning.prepare(served, caller, operation, values, source_id)
        attachments.check(prepared.attachments)
        return schemas.dry_run(prepared.new)
    submitted = submit(
        served, caller, values, operation=operation, source_id=source_id, attempt=attempt(retry, caller, values)
    )
    submitted.made.tell(response)
    return with_estimate(served, submitted.video, response)


def with_estimate(served: Services, video: Video, response: Response) -> schemas.Video:
    """The video, and in a header how long to wait before the next look at it."""
    estimate = _estimate(served, video)
    if video.state in ACTIVE:
        response.headers["openai-poll-after-ms"] = str(eta.poll_after(estimate.eta_ms))
    return schemas.video(video, estimate)


def _estimate(served: Services, video: Video) -> Estimate:
    """Unknown while the database is away: a create that is paid for must not look as if it had failed."""
    try:
        return served.estimates.of(video)
    except OUTAGES as error:
        log.warning("no estimate: the database does not answer", extra={"error": type(error).__name__})
        return Estimate()
