"""The models that an installation serves (models.toml), and the plan that a request becomes under one of them."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

from domain import entries
from domain.entries import MOST_EXTENSION_SECONDS
from domain.errors import InvalidRequest, NotFound
from domain.upstream import far_end
from domain.video import Operation, Plan, Request, Size

NEEDS = {  # parameter -> capability
    "input_reference": "first_frame",
    "last_frame": "last_frame",
    "keyframes": "keyframes",
    "strength": "video",
    "mask": "mask",
    "shots": "shots",
    "negative_prompt": "negative_prompt",
    "style": "style",
    "motion_intensity": "motion",
    "fps": "fps",
    "loras": "loras",
    "characters": "characters",
}
OPERATION_NEEDS = {Operation.EDIT: "video", Operation.EXTEND: "extend"}
MOST_TOTAL_SECONDS = 120
MOST_EXTENSIONS = 6


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of models.toml. `sizes` maps a delivered size to the size that the engine draws, `rates` likewise."""

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
    price_micros: int  # per delivered second at the default steps and rate
    cost_ms: int  # expected GPU milliseconds, likewise
    created: int = 0  # Unix time, shown by GET /v1/models
    description: str = ""
    rates: dict[int, int] = field(default_factory=dict[int, int])  # delivered fps -> drawn fps
    strength: float = 0.7  # how far an edit goes from its source, unless asked for
    loras: dict[str, str] = field(default_factory=dict[str, str])  # name -> path below this file, never shown
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def extension_seconds(self) -> tuple[int, ...]:
        """What one extension may add."""
        return tuple(each for each in self.seconds if each <= MOST_EXTENSION_SECONDS)

    @property
    def queue(self) -> str:
        """Where its videos wait for a renderer."""
        return f"render.{self.pool}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models, by name and alias."""

    models: tuple[Model, ...]

    def find(self, name: str, allowed: Collection[str] | None = None) -> Model:
        """Raises NotFound (`model_not_found`) for a name that nobody serves, or that is not among the allowed."""
        for known, model in self.names(allowed):
            if name == known:
                return model
        raise NotFound(f"The model '{name[:64]}' does not exist.", param="model", code="model_not_found")

    def names(self, allowed: Collection[str] | None = None) -> Iterator[tuple[str, Model]]:
        """Each name followed by its aliases; the first entry that has a name has it. A model allows its aliases."""
        for model in self.models:
            for name in (model.name, *model.aliases):
                if allowed is None or name in allowed or model.name in allowed:
                    yield name, model


def load(path: Path, *, testcard: bool = False) -> Catalogue:
    """Read models.toml. The test card is offered only when asked for. Raises ValueError for what makes no sense."""
    found: Any = tomllib.loads(path.read_text()).get("model")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in cast("list[object]", found)):
        raise ValueError(f"{path}: there must be a [[model]]")
    models = tuple(_model(entry) for entry in cast("list[dict[str, Any]]", found))
    return Catalogue(tuple(model for model in models if testcard or model.engine != "testcard"))


def _model(entry: dict[str, Any]) -> Model:
    model = Model(**entries.read(entry))
    if model.engine == "upstream":
        far_end(model.name, model.path, model.options, model.capabilities, model.steps)
    return model


def plan(request: Request, model: Model) -> Plan:
    """Every choice made, effective values only. Raises InvalidRequest for what the model cannot do."""
    _check(request, model)
    fps = model.fps if request.fps is None else request.fps
    repainted = request.source_clip is not None and request.operation is not Operation.EXTEND
    strength = model.strength if request.strength is None else request.strength
    return Plan(
        model=model.name,
        prompt=request.prompt,
        seconds=request.seconds,
        rendered=Size.parse(model.sizes[str(request.size)]),
        rendered_fps=model.rates[fps],
        delivered=request.size,
        fps=fps,
        seed=secrets.randbits(31) if request.seed is None else request.seed,
        steps=_steps(request.steps, model),
        guidance=model.guidance if request.guidance is None else request.guidance,
        negative_prompt=request.negative_prompt or "",
        first_frame=request.first_frame,
        style=request.style or "",
        motion_intensity=request.motion_intensity,
        strength=strength if repainted else None,
        operation=request.operation,
        source_clip=request.source_clip,
        source_seconds=request.source_seconds,
        last_frame=request.last_frame,
        mask=request.mask,
        keyframes=tuple(sorted(request.keyframes, key=lambda frame: frame.second)),
        shots=request.shots,
        loras=request.loras,
        characters=request.character_clips,
    )


def price(effective: Plan, model: Model) -> int:
    """Micro-units for the whole video; for an extension, for its new seconds."""
    return -(-effective.seconds * model.price_micros * _work(effective) // _work_by_default(model))


def cost(effective: Plan, model: Model) -> int:
    """Expected GPU milliseconds: what a claim charges before the real cost is known."""
    return max(1, effective.seconds * model.cost_ms * _work(effective) // _work_by_default(model))


def _work(effective: Plan) -> int:
    return effective.steps * effective.rendered_fps


def _work_by_default(model: Model) -> int:
    return model.steps[1] * model.rendered_fps


def check_capability(model: Model, capability: str | None, param: str) -> None:
    """Raises InvalidRequest (`unsupported_parameter`) if the model lacks it."""
    if capability is not None and capability not in model.capabilities:
        raise InvalidRequest(
            f"The model '{model.name}' does not take '{param}'.", param=param, code="unsupported_parameter"
        )


def _check(request: Request, model: Model) -> None:
    used = {
        "input_reference": request.first_frame,
        **{name: getattr(request, name) for name in NEEDS if name != "input_reference"},
    }
    for name, value in used.items():
        if value is not None and value != ():
            check_capability(model, NEEDS[name], name)
    check_capability(model, OPERATION_NEEDS.get(request.operation), "video")
    if "text" not in model.capabilities and request.operation not in OPERATION_NEEDS:
        _check_pictures(request, model)
    if str(request.size) not in model.sizes:
        raise unsupported("size", str(request.size), list(model.sizes))
    if request.fps is not None and request.fps not in model.rates:
        raise unsupported("fps", str(request.fps), [str(rate) for rate in model.rates])
    _check_length(request, model)


def _check_pictures(request: Request, model: Model) -> None:
    """A model that does not draw from words alone needs a picture to begin with, and one for every further shot."""
    opened = request.first_frame is not None or (bool(request.shots) and request.shots[0].reference is not None)
    if not opened:
        raise InvalidRequest(
            f"The model '{model.name}' does not draw from words alone: 'input_reference' is required.",
            param="input_reference",
            code="missing_required_parameter",
        )
    if any(shot.reference is None for shot in request.shots[1:]):
        raise InvalidRequest(f"With the model '{model.name}' every shot needs a reference.", param="shots")


def _check_length(request: Request, model: Model) -> None:
    if request.operation is Operation.EXTEND:
        _check_extension(request, model)
    elif request.operation is not Operation.CREATE:
        _check_source(request, model)
    elif request.seconds not in model.seconds:
        raise unsupported("seconds", str(request.seconds), [str(value) for value in model.seconds])
    _check_parts(request)
    _check_moments(request, model)


def _check_source(request: Request, model: Model) -> None:
    most = max(model.seconds)
    if request.source_clip is None:  # drawn anew from words, so it must have one of the model's own lengths
        fits, offered = request.seconds in model.seconds, _enumerate([str(each) for each in model.seconds])
    else:
        fits, offered = 1 <= request.seconds <= most, f"from 1 to {most}"
    if not fits:
        raise InvalidRequest(
            f"The source has {request.source_seconds:g} seconds; '{model.name}' takes {offered}.", param="video"
        )


def _check_parts(request: Request) -> None:
    shots = sum(shot.seconds for shot in request.shots)
    if request.shots and shots != request.seconds:
        raise InvalidRequest(
            f"The shots have {shots} seconds together, the video {request.seconds}; they must be equal.", param="shots"
        )
    moments = [frame.second for frame in request.keyframes]
    if len(set(moments)) < len(moments) or not all(0 <= moment <= request.seconds for moment in moments):
        raise InvalidRequest(
            f"Each keyframe must have a second of its own, from 0 to {request.seconds}.", param="keyframes"
        )
    names = [lora.name for lora in request.loras]
    if len(set(names)) < len(names):
        raise InvalidRequest("Each of the loras may be named once.", param="loras")


def _check_moments(request: Request, model: Model) -> None:
    """No two pictures for one frame: one of them would be lost."""
    rate = model.rates[model.fps if request.fps is None else request.fps]
    taken: dict[int, str] = {}
    for number, name, param in _pictures(request, rate):
        if number in taken:
            raise InvalidRequest(
                f"Each picture must have a frame of its own: of {rate} frames a second, {taken[number]} and {name}"
                " have the same.",
                param=param,
            )
        taken[number] = name


def _pictures(request: Request, rate: int) -> Iterator[tuple[int, str, str]]:
    """What shows one frame of the clip: the frame's number, what a user calls the picture, and by which parameter."""
    last = request.seconds * rate - 1
    if request.first_frame is not None:
        yield 0, "'input_reference'", "input_reference"
    if request.last_frame is not None:
        yield last, "'last_frame'", "last_frame"
    begins = accumulate((shot.seconds for shot in request.shots), initial=0)
    for at, (shot, begin) in enumerate(zip(request.shots, begins, strict=False)):
        if shot.reference is not None:
            yield begin * rate, f"the reference of shots[{at}]", "shots"
    for moment in sorted(keyframe.second for keyframe in request.keyframes):
        yield min(last, round(moment * rate)), f"the keyframe at {moment:g} s", "keyframes"


def _check_extension(request: Request, model: Model) -> None:
    if request.seconds not in model.extension_seconds:
        raise unsupported("seconds", str(request.seconds), [str(value) for value in model.extension_seconds])
    total = request.source_seconds + request.seconds
    if total > MOST_TOTAL_SECONDS:
        raise InvalidRequest(
            f"The extended video would have {total:g} seconds; at most {MOST_TOTAL_SECONDS} are possible.",
            param="seconds",
        )


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
