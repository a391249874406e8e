"""Kinds of values that are objects or lists: in a form, brackets or one JSON text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from api.multipart import Upload
from api.parameters.kinds import Kind, Schema, Terms
from api.parameters.refusals import ECHO_LIMIT, missing, unknown, wrong_type
from domain.catalogue import Model, check_capability
from domain.errors import InvalidRequest

METADATA_KEYS, METADATA_KEY_LIMIT, METADATA_VALUE_LIMIT = 16, 64, 512
_TEXT = {"type": "string"}
_FILE_ID = {**_TEXT, "description": "id of an uploaded file"}


def metadata(param: str, value: Any) -> dict[str, str]:
    """A few short texts by name. Raises InvalidRequest."""
    if not isinstance(value, dict):
        wrong_type(param, "an object", value)
    entries = cast("dict[str, Any]", value)
    if len(entries) > METADATA_KEYS:
        raise InvalidRequest(f"Invalid '{param}': at most {METADATA_KEYS} keys.", param=param)
    for key, text in entries.items():
        if not isinstance(text, str):
            wrong_type(f"{param}.{key[:METADATA_KEY_LIMIT]}", "a string", text)
        if not 1 <= len(key) <= METADATA_KEY_LIMIT or len(text) > METADATA_VALUE_LIMIT:
            raise InvalidRequest(
                f"Invalid '{param}': keys have 1 to {METADATA_KEY_LIMIT} characters, "
                f"values at most {METADATA_VALUE_LIMIT}.",
                param=param,
            )
    return entries


@dataclass(frozen=True, slots=True)
class Metadata:
    """A few texts of the client's own."""

    def read(self, param: str, value: Any, _terms: Terms) -> dict[str, str]:
        """Texts by name."""
        return metadata(param, value)

    def schema(self, _model: Model | None) -> Schema:
        """An object of strings."""
        return {
            "type": "object",
            "maxProperties": METADATA_KEYS,
            "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_LIMIT},
            "additionalProperties": {**_TEXT, "maxLength": METADATA_VALUE_LIMIT},
        }


@dataclass(frozen=True, slots=True)
class Reference:
    """A file of the form, or an object with exactly one of some names. `api.inputs` fetches and decodes it."""

    names: tuple[str, ...]

    def read(self, param: str, value: Any, _terms: Terms) -> Any:
        """The reference as it came, of the right kind."""
        if isinstance(value, Upload):
            return value
        if not isinstance(value, dict):
            wrong_type(param, "a file or an object", value)
        given = cast("dict[str, Any]", value)
        if len(given) != 1 or not given.keys() <= set(self.names):
            raise InvalidRequest(f"'{param}' takes exactly one of {' and '.join(self.names)}.", param=param)
        name, text = next(iter(given.items()))
        return given if isinstance(text, str) else wrong_type(f"{param}.{name}", "a string", text)

    def schema(self, _model: Model | None) -> Schema:
        """The object form; a form takes a file too."""
        described = {
            "image_url": {**_TEXT, "description": "https URL or base64 data URL of the picture"},
            "file_id": _FILE_ID,
            "id": {**_TEXT, "description": "id of a completed video"},
        }
        one = [
            {
                "type": "object",
                "properties": {name: described[name]},
                "required": [name],
                "additionalProperties": False,
            }
            for name in self.names
        ]
        return {"oneOf": one}


PICTURE = Reference(("image_url", "file_id"))
CLIP = Reference(("id", "file_id"))


@dataclass(frozen=True, slots=True)
class Part:
    """One name within the objects of a list."""

    name: str
    kind: Kind
    required: bool = False
    capability: str | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list of objects that all have the same parts."""

    parts: tuple[Part, ...]
    most: int
    least: int = 1

    def read(self, param: str, value: Any, terms: Terms) -> tuple[dict[str, Any], ...]:
        """The objects with typed values; absent parts are left out."""
        if not isinstance(value, list):
            wrong_type(param, "an array", value)
        items = cast("list[Any]", value)
        if not self.least <= len(items) <= self.most:
            raise InvalidRequest(
                f"Invalid '{param}': expected {self.least} to {self.most} elements, got {len(items)}.", param=param
            )
        return tuple(self._item(f"{param}[{index}]", item, terms) for index, item in enumerate(items))

    def _item(self, param: str, item: Any, terms: Terms) -> dict[str, Any]:
        if not isinstance(item, dict):
            wrong_type(param, "an object", item)
        given = {name: value for name, value in cast("dict[str, Any]", item).items() if value is not None}
        known = {part.name: part for part in self.parts}
        for name in given.keys() - known.keys():
            unknown(f"{param}.{name[: ECHO_LIMIT // 2]}")
        for part in self.parts:
            if part.required and part.name not in given:
                missing(f"{param}.{part.name}")
        return {name: self._part(f"{param}.{name}", known[name], value, terms) for name, value in given.items()}

    def _part(self, param: str, part: Part, value: Any, terms: Terms) -> Any:
        check_capability(terms.model, part.capability, param)
        return part.kind.read(param, value, terms)

    def schema(self, model: Model | None) -> Schema:
        """An array of objects."""
        taken = [part for part in self.parts if model is None or part.capability in {None, *model.capabilities}]
        return {
            "type": "array",
            "minItems": self.least,
            "maxItems": self.most,
            "items": {
                "type": "object",
                "properties": {part.name: part.kind.schema(model) for part in taken},
                "required": [part.name for part in taken if part.required],
                "additionalProperties": False,
            },
        }
