"""Far ends: other people's video servers that draw for us, and what can be said to each kind of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import inf
from typing import Any, cast, get_type_hints
from urllib.parse import urlsplit

from domain.capabilities import CAPABILITIES


class Dialect(StrEnum):
    """How a far end wants to be asked."""

    OPENAI = "openai"  # nothing but what OpenAI's own API knew
    VLLM_OMNI = "vllm-omni"
    SGLANG = "sglang"
    KINEMA = "kinema"


# What can be expressed in a dialect.
EXPRESSIBLE = {
    Dialect.OPENAI: frozenset({"text", "first_frame"}),
    Dialect.VLLM_OMNI: frozenset({"text", "first_frame", "negative_prompt", "fps"}),
    Dialect.SGLANG: frozenset({"text", "first_frame", "negative_prompt", "fps"}),
    Dialect.KINEMA: CAPABILITIES - {"characters"},
}
_OF_MODEL = {"url", "capabilities"}
_KINDS = {str: "a text", int: "a number", float: "a number", bool: "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEnd:
    """The `options` of a model whose engine is `upstream`; `url` is its `path`, `capabilities` are the model's."""

    url: str  # the base URL, which ends in /v1 where the server has it so
    capabilities: frozenset[str] = frozenset()
    dialect: Dialect
    model: str = ""  # what the far end calls it; empty: it serves only one
    key_env: str = ""  # the environment variable that holds the API key
    key_file: str = ""  # or the file that holds it
    timeout_seconds: float = 3600.0  # from the create to the result
    patience_seconds: float = 60.0  # without an answer before the attempt is given up
    frames_multiple: int = 1  # the far end draws n * frames_multiple + frames_plus frames; the surplus is cut
    frames_plus: int = 0
    missing_frames: int = 0  # that may be missing at the end; the last picture then stays
    most_bytes: int = 512 * 1024 * 1024  # of the file that it sends
    proxies: bool = False  # whether HTTPS_PROXY and its like count
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])  # sent with every create

    def frames(self, wanted: int) -> int:
        """The fewest frames, at least as many as wanted, that the far end can draw."""
        return -(-max(0, wanted - self.frames_plus) // self.frames_multiple) * self.frames_multiple + self.frames_plus


def far_end(
    name: str, url: str, options: Mapping[str, Any], capabilities: Collection[str], steps: tuple[int, int, int]
) -> FarEnd:
    """What a table of models.toml says about its far end. Raises ValueError that names model, key and reason."""
    _check_url(name, url)
    found = FarEnd(url=url.rstrip("/"), capabilities=frozenset(capabilities), **_typed(name, options))
    if found.key_env and found.key_file:
        raise ValueError(f"{name}: give key_env or key_file, not both")
    if found.frames_multiple < 1 or min(found.frames_plus, found.missing_frames) < 0:
        raise ValueError(f"{name}: frames_multiple must be at least 1, frames_plus and missing_frames at least 0")
    if not all(0 < each < inf for each in (found.timeout_seconds, found.patience_seconds, found.most_bytes)):
        raise ValueError(f"{name}: timeout_seconds, patience_seconds and most_bytes must be above 0, and finite")
    if beyond := set(capabilities) - EXPRESSIBLE[found.dialect]:
        raise ValueError(f"{name}: the dialect {found.dialect} cannot express: {', '.join(sorted(beyond))}")
    if found.dialect is Dialect.OPENAI and steps[0] != steps[2]:
        raise ValueError(f"{name}: the dialect openai cannot express steps; make all three of them equal")
    return found


def _check_url(name: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{name}: path must be the URL of the far end, such as http://gpu-1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{name}: path must hold no user, password, query or fragment; see key_env and key_file")


def _typed(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {each.name: get_type_hints(FarEnd)[each.name] for each in fields(FarEnd) if each.name not in _OF_MODEL}
    if unknown := set(options) - set(kinds):
        raise ValueError(f"{name}: no such option: {', '.join(sorted(unknown))} (known: {', '.join(kinds)})")
    if options.get("dialect") not in set(Dialect):
        raise ValueError(f"{name}: dialect must be one of: {', '.join(Dialect)}")
    return {key: _value(name, key, value, kinds[key]) for key, value in options.items()}


def _value(name: str, key: str, value: Any, kind: type) -> Any:
    if key == "dialect":
        return Dialect(value)
    if key == "fields":
        if not isinstance(value, dict):
            raise ValueError(f"{name}: fields must be a table")
        return cast("dict[str, Any]", value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number and (kind is float or isinstance(value, int)) if kind in {int, float} else isinstance(value, kind)
    if not fits:
        raise ValueError(f"{name}: {key} must be {_KINDS[kind]}")
    return value
