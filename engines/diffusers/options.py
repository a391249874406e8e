"""`[model.options]` of an entry of models.toml with `engine = "diffusers"`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from engines.diffusers.refusal import Refused

CHOICES: dict[str, tuple[str, ...]] = {
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "cache": ("none", "first_block"),
    "quantisation": ("none", "float8_storage"),
    "offload": ("none", "model", "group"),
}

MOST_WINDOW = 14_400  # frames of the longest clip, 120 s, at 120 a second


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is run. Those that a machine cannot do are left out, with a line in the log and in `facts`."""

    device: str = "auto"  # cuda where there is one
    dtype: str = "auto"  # bfloat16 on cuda, float32 on cpu
    attention: tuple[str, ...] = ()  # backends of the library, the first that works here is taken
    compile: bool = False  # the transformer's repeated blocks
    cache: str = "none"  # lossy
    cache_threshold: float = 0.05
    quantisation: str = "none"  # lossy: float8_storage keeps weights in a byte each, and computes as before
    offload: str = "none"  # where weights wait: model moves one network at a time, group one layer
    tiling: bool = False  # decode in tiles: less memory, no streaming
    window: int = 0  # most frames drawn at once; longer clips go on from their last frame. 0: no limit


def parse(name: str, given: Mapping[str, Any]) -> Options:
    """Raises Refused for an option that does not exist or has no such value. `name` is the model's."""
    if "trust_remote_code" in given:
        raise Refused(f"{name}: trust_remote_code is not possible: code that comes with weights is never run")
    known = {field.name: field for field in fields(Options)}
    if unknown := sorted(set(given) - set(known)):
        raise Refused(f"{name}: no such option: {', '.join(unknown)}; there are {', '.join(known)}")
    values: dict[str, Any] = {
        key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for key, value in given.items()
    }
    defaults = Options()
    for key, value in values.items():
        default: object = getattr(defaults, key)
        wanted = type(default)
        if type(value) is not wanted:
            raise Refused(f"{name}: option {key} is {value!r} and must be of type {wanted.__name__}")
        if key in CHOICES and value not in CHOICES[key]:
            raise Refused(f"{name}: option {key} is {value!r} and must be one of {', '.join(CHOICES[key])}")
    options = Options(**values)
    if options.window and not 2 <= options.window <= MOST_WINDOW:
        raise Refused(
            f"{name}: option window is {options.window} and must be from 2 to {MOST_WINDOW} frames, or 0 for no limit: "
            "each window begins with the last frame of the one before"
        )
    return options
