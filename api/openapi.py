"""What /openapi.json cannot read off the code: the body of a create in its encodings, and the shape of failures."""

from __future__ import annotations

from typing import Any

from api import parameters
from api.errors import ErrorBody
from domain.video import PROMPT_LIMIT

# "default" keeps the framework from documenting a 422 that this API never sends.
FAILURES: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorBody, "description": "Any failure, in OpenAI's error body"}
}

_TEXT = {"type": "string"}
_REFERENCE = {
    "type": "object",
    "description": "The first frame, of exactly the asked size.",
    "properties": {"image_url": {**_TEXT, "description": "data URL of a jpeg, png or webp image"}},
    "required": ["image_url"],
    "additionalProperties": False,
}
_PROPERTIES: dict[str, Any] = {
    "prompt": {**_TEXT, "minLength": 1, "maxLength": PROMPT_LIMIT},
    "model": {**_TEXT, "default": parameters.DEFAULT_MODEL},
    "seconds": {"anyOf": [_TEXT, {"type": "integer"}], "default": parameters.DEFAULT_SECONDS},
    "size": {**_TEXT, "default": parameters.DEFAULT_SIZE, "examples": ["720x1280", "1280x720"]},
    "seed": {"type": "integer", "minimum": 0, "maximum": parameters.MOST_SEED},
    "steps": {"type": "integer", "minimum": 1},
    "guidance": {"type": "number", "minimum": 0, "maximum": parameters.MOST_GUIDANCE},
    "metadata": {
        "type": "object",
        "maxProperties": parameters.METADATA_KEYS,
        "propertyNames": {"minLength": 1, "maxLength": parameters.METADATA_KEY_LIMIT},
        "additionalProperties": {**_TEXT, "maxLength": parameters.METADATA_VALUE_LIMIT},
    },
}


def _create(reference: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": {
            "type": "object",
            "required": ["prompt"],
            "properties": {**_PROPERTIES, "input_reference": reference},
            "additionalProperties": False,
        }
    }


CREATE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _create({"oneOf": [{**_TEXT, "format": "binary"}, _REFERENCE]}),
            "application/json": _create(_REFERENCE),
        },
    }
}
