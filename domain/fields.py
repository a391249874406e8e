"""What an administrator may set, as data: one table checks it, documents it, and becomes options of a command."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast

from domain.errors import InvalidRequest

MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Field:
    """One value: its kind, its bounds (characters of a text, else of the number itself), and whether null may clear it.

    `choices` are all that a text, or a name in a list, may be; empty: any. `parts` are the fields of an object.
    """

    kind: Literal["text", "integer", "number", "names", "object"]
    about: str
    least: float = 0
    most: float = 2**31 - 1
    optional: bool = False
    choices: tuple[str, ...] = ()
    parts: Mapping[str, Field] | None = None


Fields = Mapping[str, Field]


def check(fields: Fields, values: Mapping[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values, each as its field demands. Raises InvalidRequest that names the parameter."""
    for name in values:
        if name not in fields:
            shown = name[:64]
            raise InvalidRequest(f"Unknown parameter: '{shown}'.", param=shown, code="unknown_parameter")
    for name in required:
        if values.get(name) is None:
            raise InvalidRequest(
                f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
            )
    return {name: _checked(name, fields[name], value) for name, value in values.items()}


def schema(fields: Fields, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The same table as a JSON schema."""
    properties = {name: _schema(field) for name, field in fields.items()}
    wanted: dict[str, Any] = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **wanted}


def _checked(name: str, field: Field, value: Any) -> Any:
    if value is None and field.optional:
        return None
    match field.kind:
        case "text":
            return _text(name, field, value)
        case "integer" | "number":
            return _number(name, field, value)
        case "names":
            return _names(name, field, value)
        case "object":
            if not isinstance(value, dict):
                _wrong(name, "an object")
            return check(field.parts or {}, cast("dict[str, Any]", value))


def _text(name: str, field: Field, value: Any) -> str:
    if not isinstance(value, str):
        _wrong(name, "a string")
    _refuse_others(name, field, [value])
    if not max(field.least, 1) <= len(value) <= field.most:
        raise InvalidRequest(f"Invalid '{name}': it must have 1 to {field.most:.0f} characters.", param=name)
    return value


def _number(name: str, field: Field, value: Any) -> float:
    whole = field.kind == "integer"
    # An integer of any length is finite, and too long for isfinite.
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
        _wrong(name, "an integer" if whole else "a number")
    if whole and value != int(value):
        _wrong(name, "an integer")
    if not field.least <= value <= field.most:
        bounds = f"{field.least:g} to {field.most:g}" if field.most < 1e6 else f"{field.least:g} to {field.most:.0f}"
        raise InvalidRequest(f"Invalid '{name}': it must be from {bounds}.", param=name)
    return int(value) if whole else float(value)


def _names(name: str, field: Field, value: Any) -> list[str]:
    if not isinstance(value, list):
        _wrong(name, "an array of strings")
    names = cast("list[Any]", value)
    if len(names) > MOST_NAMES or not all(isinstance(each, str) and 0 < len(each) <= field.most for each in names):
        _wrong(name, f"an array of at most {MOST_NAMES} strings")
    _refuse_others(name, field, names)
    return list(dict.fromkeys(cast("list[str]", names)))


def _refuse_others(name: str, field: Field, values: list[Any]) -> None:
    if field.choices and any(value not in field.choices for value in values):
        raise InvalidRequest(f"Invalid '{name}': choose from {', '.join(field.choices)}.", param=name)


def _wrong(name: str, wanted: str) -> NoReturn:
    raise InvalidRequest(f"Invalid type for '{name}': expected {wanted}.", param=name, code="invalid_type")


def _schema(field: Field) -> dict[str, Any]:
    own: dict[str, Any] = {"description": field.about}
    match field.kind:
        case "text":
            kind = "string"
            own |= {"enum": list(field.choices)} if field.choices else {"minLength": 1, "maxLength": int(field.most)}
        case "integer" | "number":
            kind = field.kind
            own |= {"minimum": field.least, "maximum": field.most}
        case "names":
            kind = "array"
            each = {"enum": list(field.choices)} if field.choices else {"minLength": 1, "maxLength": int(field.most)}
            own |= {"maxItems": MOST_NAMES, "items": {"type": "string", **each}}
        case "object":
            kind = "object"
            own |= schema(field.parts or {})
    return {**own, "type": [kind, "null"] if field.optional else kind}
