"""The models that an installation serves (models.toml), and the plan that a request becomes under one of them."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.errors import InvalidRequest, NotFound
from domain.video import Plan, Request, Size


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of models.toml. `sizes` maps a delivered size to the size that the engine draws."""

    name: str
    engine: str
    pool: str
    path: str
    aliases: tuple[str, ...]
    sizes: dict[str, str]
    seconds: tuple[int, ...]
    fps: int
    rendered_fps: int
    steps: tuple[int, int, int]  # least, default, most
    guidance: float
    capabilities: frozenset[str]
    price_micros: int  # per delivered second
    cost_ms: int  # expected GPU milliseconds per delivered second at the default steps
    created: int = 0  # Unix time, shown by GET /v1/models
    description: str = ""
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def queue(self) -> str:
        """Where its videos wait for a renderer."""
        return f"render.{self.pool}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models, by name and alias."""

    models: tuple[Model, ...]

    def find(self, name: str) -> Model:
        """Raises NotFound (`model_not_found`) for a name that nobody serves."""
        for model in self.models:
            if name == model.name or name in model.aliases:
                return model
        raise NotFound(f"The model '{name[:64]}' does not exist.", param="model", code="model_not_found")


def load(path: Path, *, testcard: bool = False) -> Catalogue:
    """Read models.toml. The test card is offered only when asked for."""
    entries = tomllib.loads(path.read_text())["model"]
    models = tuple(_model(entry) for entry in entries)
    return Catalogue(tuple(model for model in models if testcard or model.engine != "testcard"))


def _model(entry: dict[str, Any]) -> Model:
    values: dict[str, Any] = {**entry, "capabilities": frozenset(entry["capabilities"])}
    values |= {name: tuple(entry[name]) for name in ("aliases", "seconds", "steps")}
    model = Model(**values)
    if model.fps % model.rendered_fps:
        raise ValueError(f"{model.name}: fps must be a multiple of rendered_fps")
    return model


def plan(request: Request, model: Model) -> Plan:
    """Every choice made, effective values only. Raises InvalidRequest for what the model cannot do."""
    delivered = str(request.size)
    if delivered not in model.sizes:
        raise unsupported("size", delivered, list(model.sizes))
    if request.seconds not in model.seconds:
        raise unsupported("seconds", str(request.seconds), [str(value) for value in model.seconds])
    if request.first_frame is not None and "first_frame" not in model.capabilities:
        raise InvalidRequest(f"The model '{model.name}' takes no input_reference.", param="input_reference")
    return Plan(
        model=model.name,
        prompt=request.prompt,
        seconds=request.seconds,
        rendered=Size.parse(model.sizes[delivered]),
        rendered_fps=model.rendered_fps,
        delivered=request.size,
        fps=model.fps,
        seed=secrets.randbits(31) if request.seed is None else request.seed,
        steps=_steps(request.steps, model),
        guidance=model.guidance if request.guidance is None else request.guidance,
        first_frame=request.first_frame,
    )


def price(effective: Plan, model: Model) -> int:
    """Micro-units for the whole video."""
    return effective.seconds * model.price_micros


def cost(effective: Plan, model: Model) -> int:
    """Expected GPU milliseconds: what a claim charges before the real cost is known."""
    return max(1, effective.seconds * model.cost_ms * effective.steps // model.steps[1])


def _steps(asked: int | None, model: Model) -> int:
    least, default, most = model.steps
    if asked is not None and not least <= asked <= most:
        raise InvalidRequest(f"Invalid value: {asked}. steps must be from {least} to {most}.", param="steps")
    return default if asked is None else asked


def unsupported(param: str, value: str, supported: Sequence[str]) -> InvalidRequest:
    """OpenAI's refusal of a value that is not in a list, the list included."""
    return InvalidRequest(
        f"Invalid value: '{value}'. Supported values are: {_enumerate(supported)}.", param=param, code="invalid_value"
    )


def _enumerate(values: Sequence[str]) -> str:
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return ", ".join(quoted[:-1]) + f", and {quoted[-1]}"
