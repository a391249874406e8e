"""POST /v1/moderations: what the rules and the classifier think of texts, before anything is asked of them.

The texts are judged and forgotten: they are neither stored nor logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, cast

from fastapi import APIRouter
from pydantic import BaseModel, Field
from pydantic.config import JsonDict

from api import bodies
from api.bodies import Received
from api.deps import Authenticated, Served
from api.moderator import Result
from api.openapi import FAILURES
from api.parameters import wrong_type
from domain import ids
from domain.errors import InvalidRequest, Unavailable
from domain.video import PROMPT_LIMIT
from moderation import prompts
from moderation.policy import CATEGORIES, SEVERITY, THRESHOLDS, Action, decide
from moderation.tolerance import Tolerance
from storage.keys import Caller

MOST_INPUTS = 32
MOST_CHARACTERS = PROMPT_LIMIT  # of all texts of a call: as much as the longest prompt, and no more work than it

router = APIRouter(prefix="/v1", tags=["moderations"], responses=FAILURES)
_Score = Annotated[float, Field(ge=0, le=1)]
_KEYS: JsonDict = {"required": [*CATEGORIES], "propertyNames": {"enum": [*CATEGORIES]}}


class Outcome(BaseModel):
    """What a create with this text would meet: let through, held for a person, or refused."""

    action: Action
    policy: str


class ModerationResult(BaseModel):
    """OpenAI's result. `kinema` is ours."""

    flagged: bool
    categories: Annotated[dict[str, bool], Field(json_schema_extra=_KEYS)]
    category_scores: Annotated[dict[str, _Score], Field(json_schema_extra=_KEYS)]
    category_applied_input_types: Annotated[dict[str, list[Literal["text"]]], Field(json_schema_extra=_KEYS)]
    kinema: Outcome


class ModerationResponse(BaseModel):
    """OpenAI's answer: one result for each string, one for all parts of a list together."""

    id: str
    model: str
    results: list[ModerationResult]


_TEXT = {"type": "string", "maxLength": PROMPT_LIMIT}
_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": _TEXT},
    "required": ["type", "text"],
    "additionalProperties": False,
}
_LISTS = {"minItems": 1, "maxItems": MOST_INPUTS}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "input": {
                            "anyOf": [
                                _TEXT,
                                {"type": "array", "items": _TEXT, **_LISTS},
                                {"type": "array", "items": _PART, **_LISTS},
                            ]
                        },
                        "model": {"type": "string", "description": "Accepted and ignored: there is one moderator."},
                    },
                    "required": ["input"],
                    "additionalProperties": False,
                }
            }
        },
    }
}


@router.post("/moderations", openapi_extra=_BODY)
def create_moderation(served: Served, caller: Authenticated, body: Received) -> ModerationResponse:
    """Judge texts as prompts are judged. Images are refused: nothing here can look at one by itself."""
    texts = _texts(bodies.read(body))
    tolerance = _tolerance(caller)
    answer = served.moderator.judge(caller.tenant_id, texts)
    results = [_result(text, result, tolerance) for text, result in zip(texts, answer.results, strict=True)]
    return ModerationResponse(id=f"modr-{ids.new_id().hex}", model=answer.model, results=results)


def _texts(values: dict[str, Any]) -> list[str]:
    """One text for each result. Raises InvalidRequest."""
    for name in values.keys() - {"input", "model"}:
        raise InvalidRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")
    if not isinstance(values.get("model", ""), str):
        wrong_type("model", "a string", values["model"])
    if "input" not in values:
        raise InvalidRequest("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    given = values["input"]
    if isinstance(given, str):
        return [_text(given)]
    if not isinstance(given, list):
        wrong_type("input", "a string or an array", given)
    return _of_list(cast("list[Any]", given))


def _of_list(given: list[Any]) -> list[str]:
    if not 1 <= len(given) <= MOST_INPUTS:
        raise InvalidRequest(f"Invalid 'input': it must have 1 to {MOST_INPUTS} elements.", param="input")
    if all(isinstance(each, str) for each in given):
        return _all(given)
    return [_text("\n".join(_part(each) for each in given))]


def _all(texts: list[str]) -> list[str]:
    length = sum(map(len, texts))
    if len(texts) > 1 and length > MOST_CHARACTERS:
        raise InvalidRequest(
            f"Invalid 'input': the texts may have {MOST_CHARACTERS} characters together, and they have {length}.",
            param="input",
            code="string_above_max_length",
        )
    return [_text(each) for each in texts]


def _part(given: Any) -> str:
    if not isinstance(given, dict):
        wrong_type("input", "an array of strings or of objects", given)
    part = cast("dict[str, Any]", given)
    if part.get("type") == "image_url":
        _no_images()
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str) or len(part) != 2:
        raise InvalidRequest("Invalid 'input': a part is {'type': 'text', 'text': …}.", param="input")
    return text


def _no_images() -> NoReturn:
    raise InvalidRequest(
        "No image classifier is configured; send text only. References of a video are judged with the video.",
        param="input",
        code="images_not_supported",
    )


def _text(text: str) -> str:
    if len(text) > PROMPT_LIMIT:
        raise InvalidRequest(
            f"Invalid 'input': string too long. Expected at most {PROMPT_LIMIT} characters, got {len(text)}.",
            param="input",
            code="string_above_max_length",
        )
    return text


def _tolerance(caller: Caller) -> Tolerance:
    """What the tenant's operator decided. A policy that cannot be read allows nothing. Raises Unavailable."""
    try:
        return Tolerance.of(caller.tenant.moderation or {})
    except ValueError:
        raise Unavailable("The moderation policy of this tenant cannot be read.") from None


def _result(text: str, result: Result, tolerance: Tolerance) -> ModerationResult:
    """The classifier's scores under our rules: a rule that applies raises its category, whoever the moderator is."""
    known = {category: result.category_scores.get(category, 0.0) for category in CATEGORIES}
    decision = decide(prompts.findings(text), known)
    weighed = tolerance.weigh(decision.action, decision.scores, decision.reasons)
    said: Action = "block" if result.kinema is None else result.kinema.action
    alone: Action = said if result.flagged and decision.action == "allow" else "allow"  # for a reason only it knows
    action = tolerance.settle(max(weighed, alone, key=SEVERITY.__getitem__))
    return ModerationResult(
        flagged=result.flagged or decision.flagged,
        categories=_flags(decision.scores, result.categories),
        category_scores={category: round(decision.scores[category], 6) for category in CATEGORIES},
        category_applied_input_types={category: ["text"] for category in CATEGORIES},
        kinema=Outcome(action=action, policy=f"{decision.policy}+tenant" if tolerance.departs else decision.policy),
    )


def _flags(scores: Mapping[str, float], flagged: Mapping[str, bool]) -> dict[str, bool]:
    return {
        category: flagged.get(category, False) or scores[category] >= THRESHOLDS[category].review
        for category in CATEGORIES
    }
