"""How often a tenant may ask: counted once its key is known, and told with every answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastapi import Request

from api.services import Services
from domain.errors import RateLimited
from domain.ratelimit import MINUTE, Rule, Standing
from storage.keys import Caller
from storage.ratelimit import Decision

REQUESTS = "requests"
CREATES = "creates"
# The calls that make a video; a test holds this against the routes.
CREATING = frozenset({"/v1/videos", "/v1/videos/edits", "/v1/videos/extensions", "/v1/videos/{video_id}/remix"})


def admit(request: Request, served: Services, caller: Caller) -> None:
    """Count the request, if its tenant is limited. Raises RateLimited."""
    rules = _rules(request, served, caller)
    if not rules:
        return
    decision = served.limiter.hit(caller.tenant_id, rules)
    request.state.headers = _headers(decision.standings)
    if not decision.allowed:
        raise _refusal(decision)


def _rules(request: Request, served: Services, caller: Caller) -> list[Rule]:
    """The tenant's own limits, or the installation's where it has none."""
    tenant, settings = caller.tenant, served.settings
    asked = [(REQUESTS, tenant.requests_per_minute, settings.requests_per_minute)]
    if request.method == "POST" and request.scope["route"].path_format in CREATING:
        asked.append((CREATES, tenant.creates_per_minute, settings.creates_per_minute))
    limits = [(name, installation or None if own is None else own) for name, own, installation in asked]
    return [Rule(name, limit) for name, limit in limits if limit is not None]


def _headers(standings: Sequence[Standing]) -> dict[str, str]:
    """The draft's lists of all limits; OpenAI's three of the one that is nearest to its end."""
    tightest = min(standings, key=lambda each: each.remaining)
    return {
        "ratelimit-policy": ", ".join(
            f'"{each.rule.name}";q={each.rule.per_minute};w={MINUTE:.0f}' for each in standings
        ),
        "ratelimit": ", ".join(
            f'"{each.rule.name}";r={each.remaining};t={math.ceil(each.resets_seconds)}' for each in standings
        ),
        "x-ratelimit-limit-requests": str(tightest.rule.per_minute),
        "x-ratelimit-remaining-requests": str(tightest.remaining),
        "x-ratelimit-reset-requests": _duration(tightest.resets_seconds),
    }


def _refusal(decision: Decision) -> RateLimited:
    """Names the limit that takes longest to let the request in."""
    last = max(decision.standings, key=lambda each: each.retry_seconds)
    return RateLimited(
        f"Rate limit reached for {last.rule.name} per minute: limit {last.rule.per_minute}. "
        f"Please try again in {_duration(last.retry_seconds)}.",
        last.retry_seconds,
    )


def _duration(seconds: float) -> str:
    """As OpenAI writes it: `1m3s`, `2.5s`, `20ms`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < MINUTE:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s"
