"""What is wrong with a parameter, in OpenAI's words. A refusal repeats little of what a client sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from api.multipart import Upload
from domain.catalogue import unsupported
from domain.errors import InvalidRequest

ECHO_LIMIT = 64  # characters of a client's own text that a refusal repeats
_KINDS: dict[type, str] = {
    Upload: "a file",
    bool: "a boolean",  # before int, which it is one of
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
}


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


def missing(param: str) -> NoReturn:
    """Raises InvalidRequest for a parameter that has no default."""
    raise InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def unknown(param: str) -> NoReturn:
    """Raises InvalidRequest for a name that nobody knows."""
    shown = param[:ECHO_LIMIT]
    raise InvalidRequest(f"Unknown parameter: '{shown}'.", param=shown, code="unknown_parameter")


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS.items() if isinstance(value, kind)), "an object")
