"""What /openapi.json cannot read off the code: the bodies of the calls that make a video, and the shape of failures."""

from __future__ import annotations

from typing import Any

from api import parameters
from api.errors import ErrorBody
from api.parameters import Parameter
from domain.video import Operation

# "default" keeps the framework from documenting a 422 that this API never sends.
FAILURES: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorBody, "description": "Any failure, in OpenAI's error body"}
}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}


def body(operation: Operation) -> dict[str, Any]:
    """The request body of a call, from the table that also parses it."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _object(operation, form=True)},
                "application/json": {"schema": _object(operation, form=False)},
            },
        }
    }


def _object(operation: Operation, *, form: bool) -> dict[str, Any]:
    taken, aliases = parameters.of(operation), parameters.ALIASES[operation]
    properties = {name: _property(parameter, form=form) for name, parameter in taken.items()}
    described = {
        alias: {**properties[name], "description": f"Another name for {name}."} for alias, name in aliases.items()
    }
    names = {name: [name, *(alias for alias, meant in aliases.items() if meant == name)] for name in taken}
    needed = [names[name] for name, parameter in taken.items() if parameter.required]
    either = [{"anyOf": [{"required": [name]} for name in each]} for each in needed if len(each) > 1]
    return {
        "type": "object",
        "properties": {**properties, **described},
        "required": [each[0] for each in needed if len(each) == 1],
        "additionalProperties": False,
        **({"allOf": either} if either else {}),  # an empty one is not allowed
    }


def _property(parameter: Parameter, *, form: bool) -> dict[str, Any]:
    schema = parameter.kind.schema(None)
    if form and parameter.is_reference:
        schema = {"oneOf": [_FILE, *schema["oneOf"]]}
    default = {} if parameter.default is None else {"default": parameter.default}
    return {**schema, **default, "description": parameter.about}
