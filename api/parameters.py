"""Parameters of a create: names, types and limits, each refusal naming its parameter as OpenAI does."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn, cast

from api.multipart import Upload
from domain.catalogue import Model, unsupported
from domain.errors import InvalidRequest
from domain.video import PROMPT_LIMIT, Request, Size

DEFAULT_MODEL = "sora-2"
DEFAULT_SECONDS = "4"
DEFAULT_SIZE = "720x1280"
MOST_SEED = 2**63 - 1
MOST_GUIDANCE = 30.0
ECHO_LIMIT = 64  # characters of a client's own text that a refusal repeats
METADATA_KEYS, METADATA_KEY_LIMIT, METADATA_VALUE_LIMIT = 16, 64, 512

TAKEN = frozenset({"prompt", "model", "seconds", "size", "input_reference", "seed", "steps", "guidance", "metadata"})
# Known to this API, but not to this installation: refused by name rather than ignored.
UNSUPPORTED = frozenset(
    {
        "aspect_ratio",
        "characters",
        "dry_run",
        "duration",
        "duration_extension",
        "fps",
        "input_file",
        "keyframes",
        "last_frame",
        "loras",
        "mask",
        "motion_intensity",
        "negative_prompt",
        "priority",
        "prompt_continuation",
        "resolution",
        "shots",
        "strength",
        "style",
        "webhook_url",
    }
)
_KINDS: dict[type, str] = {
    Upload: "a file",
    bool: "a boolean",  # before int, which it is one of
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
}
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)


def check_names(values: dict[str, Any]) -> None:
    """Nothing is ignored: a parameter that is not taken is refused."""
    for name in values:
        if name in UNSUPPORTED:
            raise InvalidRequest(f"'{name}' is not supported yet.", param=name, code="unsupported_parameter")
        if name not in TAKEN:
            shown = name[:ECHO_LIMIT]
            raise InvalidRequest(f"Unknown parameter: '{shown}'.", param=shown, code="unknown_parameter")


def model_name(values: dict[str, Any]) -> str:
    """The model as asked."""
    return _text(values, "model", DEFAULT_MODEL)


def request(values: dict[str, Any], model: Model) -> Request:
    """The typed request, first frame left out. Raises InvalidRequest."""
    return Request(
        model=model_name(values),
        prompt=_prompt(values),
        seconds=_seconds(values, model),
        size=Size.parse(one_of("size", _text(values, "size", DEFAULT_SIZE), list(model.sizes))),
        seed=_integer(values, "seed", 0, MOST_SEED),
        steps=_integer(values, "steps", *model.steps[::2]),
        guidance=_guidance(values),
        metadata=_metadata(values),
    )


def one_of(param: str, value: str, supported: Sequence[str]) -> str:
    """The value itself. Raises InvalidRequest that lists what is supported."""
    if value in supported:
        return value
    raise unsupported(param, value[:ECHO_LIMIT], supported)


def wrong_type(param: str, expected: str, value: Any) -> NoReturn:
    """Raises InvalidRequest that says what was expected and what came."""
    raise InvalidRequest(
        f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead.",
        param=param,
        code="invalid_type",
    )


def _prompt(values: dict[str, Any]) -> str:
    if "prompt" not in values:
        raise InvalidRequest("Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
    prompt = _text(values, "prompt", "")
    if not prompt.strip():
        raise InvalidRequest("Invalid 'prompt': it must not be empty.", param="prompt", code="string_below_min_length")
    if len(prompt) > PROMPT_LIMIT:
        raise InvalidRequest(
            f"Invalid 'prompt': string too long. Expected at most {PROMPT_LIMIT} characters, got {len(prompt)}.",
            param="prompt",
            code="string_above_max_length",
        )
    return prompt


def _text(values: dict[str, Any], name: str, default: str) -> str:
    value = values.get(name, default)
    return value if isinstance(value, str) else wrong_type(name, "a string", value)


def _seconds(values: dict[str, Any], model: Model) -> int:
    value = values.get("seconds", DEFAULT_SECONDS)
    if type(value) is int:  # JSON callers often send a number
        value = str(value)
    if not isinstance(value, str):
        wrong_type("seconds", "a string", value)
    return int(one_of("seconds", value, [str(each) for each in model.seconds]))


def _integer(values: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, str) and _INTEGER.fullmatch(value):  # a form knows text only
        value = int(value)
    if type(value) is not int:
        wrong_type(name, "an integer", value)
    if not least <= value <= most:
        shown = str(value)[:ECHO_LIMIT]
        raise InvalidRequest(f"Invalid value: {shown}. {name} must be from {least} to {most}.", param=name)
    return value


def _guidance(values: dict[str, Any]) -> float | None:
    value = values.get("guidance")
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        wrong_type("guidance", "a number", value)
    if not 0 <= number <= MOST_GUIDANCE:
        raise InvalidRequest(
            f"Invalid value: {number}. guidance must be from 0 to {MOST_GUIDANCE:g}.", param="guidance"
        )
    return number


def _metadata(values: dict[str, Any]) -> dict[str, str]:
    value = values.get("metadata", {})
    if not isinstance(value, dict):
        wrong_type("metadata", "an object", value)
    entries = cast("dict[str, Any]", value)
    if len(entries) > METADATA_KEYS:
        raise InvalidRequest(f"Invalid 'metadata': at most {METADATA_KEYS} keys.", param="metadata")
    for key, text in entries.items():
        if not isinstance(text, str):
            wrong_type(f"metadata.{key[:METADATA_KEY_LIMIT]}", "a string", text)
        if not 1 <= len(key) <= METADATA_KEY_LIMIT or len(text) > METADATA_VALUE_LIMIT:
            raise InvalidRequest(
                "Invalid 'metadata': keys have 1 to "
                f"{METADATA_KEY_LIMIT} characters, values at most {METADATA_VALUE_LIMIT}.",
                param="metadata",
            )
    return entries


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS.items() if isinstance(value, kind)), "an object")
