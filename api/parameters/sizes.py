"""Sizes by their shape: `aspect_ratio` and `resolution` pick one of the model's sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any

from api.parameters.kinds import Schema, Terms
from api.parameters.refusals import ECHO_LIMIT, wrong_type
from domain.catalogue import Model, unsupported
from domain.errors import InvalidRequest
from domain.video import Size

DEFAULT_SIZE = "720x1280"


def aspect_ratio(size: Size) -> str:
    """``16:9``."""
    divisor = gcd(size.width, size.height)
    return f"{size.width // divisor}:{size.height // divisor}"


def resolution(size: Size) -> str:
    """``720p``: the shorter side."""
    return f"{min(size.width, size.height)}p"


@dataclass(frozen=True, slots=True)
class Shape:
    """A name for some of the model's sizes: a size itself, an aspect ratio, or a resolution."""

    name: str

    def read(self, param: str, value: Any, terms: Terms) -> str:
        """The name, if at least one size has it."""
        text = value.strip().lower() if isinstance(value, str) else wrong_type(param, "a string", value)
        choices = self.choices(terms.model)
        if text in choices or (self.name == "resolution" and text in terms.model.sizes):
            return text
        raise unsupported(param, text[:ECHO_LIMIT], choices)

    def schema(self, model: Model | None) -> Schema:
        """A string; the model's list."""
        return {"type": "string"} if model is None else {"type": "string", "enum": self.choices(model)}

    def choices(self, model: Model) -> list[str]:
        """In the order of the model's sizes."""
        return list(dict.fromkeys(names(size)[self.name] for size in sizes(model)))


def sizes(model: Model) -> list[Size]:
    """The model's delivered sizes; the first that fits is taken."""
    return [Size.parse(text) for text in model.sizes]


def names(size: Size) -> dict[str, str]:
    """What a size is called, by parameter."""
    return {"size": str(size), "aspect_ratio": aspect_ratio(size), "resolution": resolution(size)}


def chosen(values: Mapping[str, Any], model: Model) -> Size:
    """The first of the model's sizes that has all the names given. Raises InvalidRequest that lists what there is."""
    asked = {name: values[name] for name in ("size", "aspect_ratio", "resolution") if name in values}
    if not asked:
        return default(model)
    for size in sizes(model):
        if all(value in {names(size)[name], str(size)} for name, value in asked.items()):
            return size
    wanted = ", ".join(f"{name} {value}" for name, value in asked.items())
    offered = ", ".join("{size} ({aspect_ratio}, {resolution})".format(**names(size)) for size in sizes(model))
    raise InvalidRequest(f"No size of '{model.name}' has {wanted}. It has: {offered}.", param=next(reversed(asked)))


def default(model: Model) -> Size:
    """OpenAI's default where the model has it, else its first."""
    return Size.parse(DEFAULT_SIZE if DEFAULT_SIZE in model.sizes else next(iter(model.sizes)))
