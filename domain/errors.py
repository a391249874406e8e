"""Everything that a user can be told is wrong.

Failure
├── InvalidRequest        the request cannot be accepted as it is (400)
│   └── PromptBlocked     the rules refuse the prompt (400, sentinel_block)
├── Forbidden             the key does not reach so far (403, insufficient_scope)
├── NotFound              no such thing for this tenant (404)
├── Conflict              the thing is in the wrong state for this (409)
│   └── InFlight          the same request is being worked on (409; may be tried again)
├── QuotaExceeded         the tenant's limit is reached (429, insufficient_quota)
├── RateLimited           the tenant asks too often (429, rate_limit_exceeded)
└── Unavailable           a part that we need does not answer (503)

`api/errors.py` maps each class to its HTTP answer.
"""

from __future__ import annotations

from datetime import datetime


class Failure(Exception):
    """A sentence for the user, with a stable code and the parameter that it is about."""

    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


class InvalidRequest(Failure):
    """The request cannot be accepted as it is."""

    code = "invalid_value"


class PromptBlocked(InvalidRequest):
    """The prompt is refused before anything is queued."""

    code = "sentinel_block"


class Forbidden(Failure):
    """The key is good, but this is beyond it."""

    code = "insufficient_scope"


class NotFound(Failure):
    """No such thing for this tenant; somebody else's is no such thing either."""

    code = "not_found"


class Conflict(Failure):
    """The thing exists but is in a state that does not allow this."""

    code = "conflict"


class InFlight(Conflict):
    """The first request with this key is not answered yet; trying again shortly finds its result."""

    code = "idempotency_in_flight"


class QuotaExceeded(Failure):
    """The tenant's limit is reached. `clears_at`: when there is room again, if time alone makes it."""

    code = "insufficient_quota"

    def __init__(self, message: str, *, clears_at: datetime | None = None) -> None:
        super().__init__(message)
        self.clears_at = clears_at


class RateLimited(Failure):
    """The tenant asks too often; after so many seconds the same request is within the limit."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Failure):
    """A part that is needed does not answer; trying again later may work."""

    code = "unavailable"


# How a video can end without a result: code -> the sentence in `error.message`.
VIDEO_ERRORS = {
    "moderation_blocked": "Your request was blocked by our moderation system.",
    "cancelled": "The video was cancelled.",
    "queue_timeout": "The video waited in the queue for too long.",
    "poison": "Rendering crashed repeatedly; the video was given up.",
    "screen_failed": "The prompt could not be screened.",
    "render_failed": "The model could not render this video.",
    "upstream_refused": "The server that renders this model refused the video.",
    "publish_failed": "The result could not be published.",
    "input_unreadable": "The reference could not be read.",
    "content_lost": "The files of this video were lost. Create it again to have them.",
}
