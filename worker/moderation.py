"""Asking the moderator. No answer is an outcome of its own, never an allow."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import httpx
from pydantic import BaseModel, Field, ValidationError

from moderation.policy import CATEGORIES, Action, Decision, worst
from moderation.questions import PURPOSE, SCREENING, SECONDS

log = logging.getLogger(__name__)

UPSTREAM_POLICY = "upstream"  # of a moderator that only flags


@dataclass(frozen=True, slots=True)
class Verdict:
    """The moderator's decision on all texts together: the worst of them."""

    action: Action
    policy: str
    model: str
    scores: Mapping[str, float]  # every category, the highest of any text
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No decision: ask again later, and in the end let a person decide. `reason` names a class of errors."""

    reason: str


class _Extra(BaseModel):
    action: Action
    policy: str
    reasons: list[str] = []


class _Result(BaseModel):
    flagged: bool
    category_scores: dict[str, Annotated[float, Field(ge=0, le=1)]]
    kinema: _Extra | None = None


class _Answer(BaseModel):
    model: str
    results: list[_Result]


def ask(url: str, texts: Sequence[str], timeout: float) -> Verdict | Unavailable:
    """Have the texts judged by the moderator at the base `url`; any service that speaks OpenAI's shape will do.

    One that answers without our extension is taken at its flag: flagged blocks. `timeout` is in seconds, per phase.
    """
    headers = {PURPOSE: SCREENING, SECONDS: str(timeout)}
    try:
        # The moderator is part of the installation: an outside proxy has no business with prompts.
        with httpx.Client(timeout=timeout, trust_env=False, headers=headers) as client:
            response = client.post(f"{url.rstrip('/')}/v1/moderations", json={"input": list(texts)})
        response.raise_for_status()
        answer = _Answer.model_validate_json(response.content)
    except httpx.HTTPError as error:
        return _unavailable(type(error).__name__, str(error))
    except ValidationError as error:
        return _unavailable(type(error).__name__, f"{error.error_count()} faults")  # its text would quote the answer
    if len(answer.results) != len(texts):
        return _unavailable("WrongLength", f"{len(answer.results)} results for {len(texts)} texts")
    return _verdict(answer)


def _unavailable(reason: str, detail: str) -> Unavailable:
    """The detail may name hosts and addresses, so it goes to the log; the reason is stored with the video."""
    log.warning("the moderator gave no answer", extra={"error": reason, "detail": detail})
    return Unavailable(reason)


def _verdict(answer: _Answer) -> Verdict:
    whole = worst(_decision(result) for result in answer.results)
    return Verdict(whole.action, _policy(answer), answer.model, whole.scores, whole.reasons)


def _decision(result: _Result) -> Decision:
    scores = {category: result.category_scores.get(category, 0.0) for category in CATEGORIES}
    if result.kinema is not None:
        return Decision(result.kinema.action, scores, tuple(result.kinema.reasons), result.kinema.policy)
    action: Literal["block", "allow"] = "block" if result.flagged else "allow"
    return Decision(action, scores, ("flagged",) if result.flagged else (), UPSTREAM_POLICY)


def _policy(answer: _Answer) -> str:
    extras = [result.kinema for result in answer.results if result.kinema is not None]
    return extras[0].policy if extras else UPSTREAM_POLICY
