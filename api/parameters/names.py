"""From the names of a body to typed values: aliases resolved, strangers refused, capabilities asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.parameters.kinds import Flag, Terms
from api.parameters.refusals import missing, unknown, wrong_type
from api.parameters.table import ALIASES, DEFAULT_MODEL, KNOWN, of
from domain.catalogue import check_capability
from domain.errors import InvalidRequest
from domain.video import Operation

_CALLS = {
    Operation.CREATE: "a create",
    Operation.REMIX: "a remix",
    Operation.EDIT: "an edit",
    Operation.EXTEND: "an extension",
}


def named(operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under their own names. Nothing is ignored: what the call does not take is InvalidRequest."""
    taken, aliases = of(operation), ALIASES[operation]
    settled: dict[str, Any] = {}
    for given, value in values.items():
        if value is None:  # as if it were not there
            continue
        name = aliases.get(given, given)
        if name not in taken:
            _refuse(operation, given)
        if name in settled:
            raise InvalidRequest(f"'{name}' is given under two names. Send one of them.", param=name)
        settled[name] = value
    for parameter in taken.values():
        if parameter.required and parameter.name not in settled:
            missing(parameter.name)
    return settled


def model_name(values: Mapping[str, Any]) -> str:
    """The model as asked."""
    value = values.get("model", DEFAULT_MODEL)
    return value if isinstance(value, str) else wrong_type("model", "a string", value)


def read(operation: Operation, settled: Mapping[str, Any], terms: Terms) -> dict[str, Any]:
    """Typed values by name, the absent left out. Raises InvalidRequest, for what the model does not take as well."""
    taken = of(operation)
    for name in settled:
        check_capability(terms.model, taken[name].capability, name)
    return {name: taken[name].kind.read(name, value, terms) for name, value in settled.items() if name != "model"}


def _refuse(operation: Operation, name: str) -> None:
    if name not in KNOWN:
        unknown(name)
    raise InvalidRequest(
        f"'{name}' is not a parameter of {_CALLS[operation]}.", param=name, code="unsupported_parameter"
    )


def asks_dry_run(values: Mapping[str, Any]) -> bool:
    """Whether nothing is to be made. Raises InvalidRequest for anything but a boolean."""
    return values.get("dry_run") is not None and Flag().read("dry_run", values["dry_run"])
