"""What an operator decides about a tenant, and within which bounds."""

from __future__ import annotations

from typing import Any

from domain.errors import InvalidRequest
from domain.fields import Field, Fields, check

DAY = 86_400

# A tenant's departures from the installation's moderation policy. The category of minors is never loosened, and
# neither is what the rules find: `moderation.policy` sees to both.
MODERATION: Fields = {
    "review_from": Field("number", "Score from which a prompt is held for a person.", 0.05, 1),
    "block_from": Field("number", "Score from which a prompt is refused.", 0.05, 1),
    "on_review": Field("text", "What becomes of a prompt that a person would have to see.", choices=("hold", "block")),
}

TENANT: Fields = {
    "name": Field("text", "What people call the tenant.", 1, 256),
    "weight": Field("number", "Share of the renderers while they are contended.", 0.01, 1000),
    "render_cap": Field("integer", "Videos that may render at once, in each pool.", 0, 10_000),
    "retention_seconds": Field("integer", "How long results are kept.", 60, 3650 * DAY),
    "allowed_models": Field("names", "Names in models.toml; null allows all.", 1, 256, optional=True),
    "moderation": Field("object", "Departures from the installation's policy.", optional=True, parts=MODERATION),
    "requests_per_minute": Field("integer", "Requests of all its keys; null: no limit.", 1, optional=True),
    "creates_per_minute": Field("integer", "Requests that create something; null: no limit.", 1, optional=True),
    "streams": Field("integer", "Progress streams that may be open at once.", 0, 10_000),
    "endpoints": Field("integer", "Webhook endpoints that may exist at once.", 0, 10_000),
}


def new(values: dict[str, Any]) -> dict[str, Any]:
    """The columns of a tenant to be made. Raises InvalidRequest."""
    return _sane(check(TENANT, values, ("name",)))


def changed(values: dict[str, Any]) -> dict[str, Any]:
    """The columns that an update sets; null clears what may be cleared. Raises InvalidRequest."""
    return _sane(check(TENANT, values))


def _sane(values: dict[str, Any]) -> dict[str, Any]:
    policy: dict[str, Any] = values.get("moderation") or {}
    if policy.get("review_from", 0.0) > policy.get("block_from", 1.0):
        raise InvalidRequest("Invalid 'moderation': 'review_from' must not be above 'block_from'.", param="moderation")
    return values
