"""Everything that a user can be told is wrong.

Failure
├── InvalidRequest        the request cannot be accepted as it is (400)
│   └── PromptBlocked     the rules refuse the prompt (400, sentinel_block)
├── NotFound              no such thing for this tenant (404)
├── Conflict              the thing is in the wrong state for this (409)
├── QuotaExceeded         the tenant's limit is reached (429)
└── Unavailable           a part that we need does not answer (503)

`api/errors.py` maps each class to its HTTP answer.
"""

from __future__ import annotations


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


class NotFound(Failure):
    """No such thing for this tenant; somebody else's is no such thing either."""

    code = "not_found"


class Conflict(Failure):
    """The thing exists but is in a state that does not allow this."""

    code = "conflict"


class QuotaExceeded(Failure):
    """The tenant's limit is reached."""

    code = "insufficient_quota"


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
    "publish_failed": "The result could not be published.",
    "input_unreadable": "The reference could not be read.",
}
