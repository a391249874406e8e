"""Kinds of values: each reads what came in any encoding, and describes itself as JSON Schema.

With a model, the schema holds that model's limits; without one, what holds for all.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Protocol

from api.parameters.refusals import ECHO_LIMIT, one_of, wrong_type
from domain.catalogue import Model
from domain.errors import InvalidRequest
from domain.targets import MAX_URL, Refusal, parse_target

Schema = dict[str, Any]
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the values of one request are judged by."""

    model: Model
    webhook_loopback: bool = False


class Kind(Protocol):
    """One kind of value."""

    def read(self, param: str, value: Any, terms: Terms, /) -> Any:
        """The typed value; a form's text counts as what it spells. Raises InvalidRequest."""
        ...

    def schema(self, model: Model | None, /) -> Schema:
        """What is accepted, as JSON Schema."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """Words, `least` to `most` characters of them."""

    most: int
    least: int = 1

    def read(self, param: str, value: Any, _terms: Terms) -> str:
        """The text; blank is empty."""
        if not isinstance(value, str):
            wrong_type(param, "a string", value)
        if len(value.strip()) < self.least:
            raise InvalidRequest(
                f"Invalid '{param}': it must not be empty.", param=param, code="string_below_min_length"
            )
        if len(value) > self.most:
            raise InvalidRequest(
                f"Invalid '{param}': string too long. Expected at most {self.most} characters, got {len(value)}.",
                param=param,
                code="string_above_max_length",
            )
        return value

    def schema(self, _model: Model | None) -> Schema:
        """A string with its bounds."""
        return {"type": "string", "minLength": self.least, "maxLength": self.most}


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number."""

    least: int
    most: int

    def read(self, param: str, value: Any, terms: Terms) -> int:
        """The number."""
        least, most = self.bounds(terms.model)
        if isinstance(value, str) and _INTEGER.fullmatch(value):  # a form knows text only
            value = int(value)
        if type(value) is not int:
            wrong_type(param, "an integer", value)
        if not least <= value <= most:
            shown = str(value)[:ECHO_LIMIT]
            raise InvalidRequest(f"Invalid value: {shown}. {param} must be from {least} to {most}.", param=param)
        return value

    def schema(self, model: Model | None) -> Schema:
        """An integer with its bounds."""
        least, most = self.bounds(model)
        return {"type": "integer", "minimum": least, "maximum": most}

    def bounds(self, _model: Model | None) -> tuple[int, int]:
        """Least and most."""
        return self.least, self.most


@dataclass(frozen=True, slots=True)
class Steps(Integer):
    """Forwards of the denoiser, within the model's range."""

    def bounds(self, model: Model | None) -> tuple[int, int]:
        """The model's."""
        return (self.least, self.most) if model is None else (model.steps[0], model.steps[2])

    def schema(self, model: Model | None) -> Schema:
        """With the model's default."""
        bounds = Integer.schema(self, model)
        return bounds if model is None else {**bounds, "default": model.steps[1]}


@dataclass(frozen=True, slots=True)
class Number:
    """Any number between two."""

    least: float
    most: float

    def read(self, param: str, value: Any, _terms: Terms) -> float:
        """The number; neither infinite nor NaN."""
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isnan(number):
            wrong_type(param, "a number", value)
        if not self.least <= number <= self.most:
            raise InvalidRequest(
                f"Invalid value: {number}. {param} must be from {self.least:g} to {self.most:g}.", param=param
            )
        return number

    def schema(self, _model: Model | None) -> Schema:
        """A number with its bounds."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    def read(self, param: str, value: Any, _terms: Terms | None = None) -> bool:
        """The boolean; a form spells it in lower case."""
        value = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
        return value if isinstance(value, bool) else wrong_type(param, "a boolean", value)

    def schema(self, _model: Model | None) -> Schema:
        """A boolean."""
        return {"type": "boolean", "default": False}


@dataclass(frozen=True, slots=True)
class Seconds:
    """One of the model's lengths; OpenAI's are strings, and callers often send numbers."""

    extension: bool = False

    def read(self, param: str, value: Any, terms: Terms) -> int:
        """Whole seconds."""
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            wrong_type(param, "a string", value)
        return int(one_of(param, value, self._choices(terms.model)))

    def schema(self, model: Model | None) -> Schema:
        """A string or an integer."""
        if model is None:
            return {"anyOf": [{"type": "string"}, {"type": "integer"}]}
        return {"type": "string", "enum": self._choices(model)}

    def _choices(self, model: Model) -> list[str]:
        return [str(each) for each in (model.extension_seconds if self.extension else model.seconds)]


@dataclass(frozen=True, slots=True)
class Rate:
    """Frames a second in the file, one of the model's rates."""

    def read(self, param: str, value: Any, terms: Terms) -> int:
        """The rate."""
        rate = Integer(1, 1_000).read(param, value, terms)
        return int(one_of(param, str(rate), [str(each) for each in terms.model.rates]))

    def schema(self, model: Model | None) -> Schema:
        """An integer; the model's list."""
        return {"type": "integer", "minimum": 1} if model is None else {"type": "integer", "enum": list(model.rates)}


@dataclass(frozen=True, slots=True)
class Adapter:
    """The name of one of the model's adapters. There is no way to give a path."""

    def read(self, param: str, value: Any, terms: Terms) -> str:
        """The name."""
        name = value if isinstance(value, str) else wrong_type(param, "a string", value)
        return one_of(param, name, list(terms.model.loras))

    def schema(self, model: Model | None) -> Schema:
        """A string; the model's list."""
        return {"type": "string"} if model is None else {"type": "string", "enum": list(model.loras)}


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """Where to send the events of this one video."""

    def read(self, param: str, value: Any, terms: Terms) -> str:
        """The URL, judged by its text."""
        url = value if isinstance(value, str) else wrong_type(param, "a string", value)
        target = parse_target(url, allow_loopback=terms.webhook_loopback)
        if isinstance(target, Refusal):
            raise InvalidRequest(f"Invalid '{param}': {target.reason}", param=param)
        return url

    def schema(self, _model: Model | None) -> Schema:
        """A URL."""
        return {"type": "string", "format": "uri", "maxLength": MAX_URL}
