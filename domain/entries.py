"""The tables of models.toml, checked: a mistake is told by the entry's name and the key, before anything is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from domain.capabilities import CAPABILITIES
from domain.video import Size

ENGINES = frozenset({"dit", "diffusers", "upstream", "testcard"})
LEAST_SIDE = 16  # pixels
DIT_GRID = 16  # pixels: what the sides of the embedded model's pictures are multiples of
MOST_GUIDANCE = 30.0
MOST_EXTENSION_SECONDS = 20  # at a time


def read(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `domain.catalogue.Model` that a table stands for.

    Raises ValueError, which names the entry and the key, for what makes no sense.
    """
    name = entry.get("name")
    if not _text(name):
        raise ValueError("models.toml: each [[model]] must have a name")
    _check_keys(f"{name}", entry)
    rates: dict[str, int] = entry.get("rates") or {str(entry["fps"]): entry["rendered_fps"]}
    values = {**entry, "capabilities": frozenset(entry["capabilities"])}
    values |= {key: tuple(entry[key]) for key in ("aliases", "seconds", "steps")}
    values["rates"] = {int(delivered): drawn for delivered, drawn in rates.items()}
    _check_capabilities(f"{name}", values)
    _check_rates(f"{name}", values)
    for delivered, drawn in entry["sizes"].items():
        _check_size(f"{name}", delivered, drawn, DIT_GRID if entry["engine"] == "dit" else 1)
    return values


def _check_keys(name: str, entry: Mapping[str, Any]) -> None:
    if unknown := sorted(set(entry) - set(REQUIRED) - set(OPTIONAL)):
        raise ValueError(f"{name}: no such key: {', '.join(unknown)}")
    if missing := [key for key in REQUIRED if key not in entry]:
        raise ValueError(f"{name}: missing: {', '.join(missing)}")
    for key, value in entry.items():
        fits, wanted = (REQUIRED | OPTIONAL)[key]
        if not fits(value):
            raise ValueError(f"{name}: {key} must be {wanted}, not {value!r:.60}")


def _check_capabilities(name: str, values: Mapping[str, Any]) -> None:
    if unknown := values["capabilities"] - CAPABILITIES:
        raise ValueError(f"{name}: no such capability: {', '.join(sorted(unknown))}")
    if "extend" in values["capabilities"] and min(values["seconds"]) > MOST_EXTENSION_SECONDS:
        raise ValueError(f"{name}: seconds must hold one up to {MOST_EXTENSION_SECONDS}, or capabilities no extend")


def _check_rates(name: str, values: Mapping[str, Any]) -> None:
    rates: dict[int, int] = values["rates"]
    if rates.get(values["fps"]) != values["rendered_fps"]:
        raise ValueError(f"{name}: rates must hold fps = rendered_fps")
    if any(delivered % drawn for delivered, drawn in rates.items()):
        raise ValueError(f"{name}: fps must be a multiple of rendered_fps")


def _check_size(name: str, delivered: str, drawn: str, grid: int) -> None:
    file, picture = _size(name, delivered), _size(name, drawn)
    if file.width % 2 or file.height % 2:
        raise ValueError(f"{name}: sizes: the sides of the file must be even, not {delivered}")
    if picture.width % grid or picture.height % grid:
        raise ValueError(
            f"{name}: sizes: {delivered} must be drawn with sides that are multiples of {grid}, not {drawn}"
        )


def _size(name: str, text: str) -> Size:
    try:
        size = Size.parse(text)
    except ValueError:
        raise ValueError(f"{name}: sizes: {text!r:.60} is no size such as 1280x720") from None
    if str(size) != text or min(size.width, size.height) < LEAST_SIDE:
        raise ValueError(f"{name}: sizes: {text} must have sides of {LEAST_SIDE} pixels at least, and no leading zeros")
    return size


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _any_text(value: object) -> bool:
    return isinstance(value, str)


def _whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _above(value: object) -> bool:
    return _whole(value, 1)


def _number(most: float) -> Callable[[object], bool]:
    """From 0 to `most`."""
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _list(fits: Callable[[object], bool], least: int = 0) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return isinstance(value, list) and len(items := cast("list[object]", value)) >= least and all(map(fits, items))

    return check


def _table(key: Callable[[str], bool], fits: Callable[[object], bool], least: int = 0) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if not isinstance(value, dict):
            return False
        items = cast("dict[str, object]", value)
        return len(items) >= least and all(key(name) and fits(each) for name, each in items.items())

    return check


def _steps(value: object) -> bool:
    if not _list(_above, 3)(value):
        return False
    least, default, most, *more = cast("list[int]", value)
    return least <= default <= most and not more


def _rate(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


_Rules = dict[str, tuple[Callable[[object], bool], str]]
REQUIRED: _Rules = {
    "name": (_text, "a text"),
    "engine": (lambda value: isinstance(value, str) and value in ENGINES, f"one of {', '.join(sorted(ENGINES))}"),
    "pool": (_text, "a text"),
    "path": (_any_text, "a text"),
    "aliases": (_list(_text), "a list of texts"),
    "sizes": (_table(_text, _text, 1), "a table of sizes with one line at least"),
    "seconds": (_list(_above, 1), "a list of whole numbers above 0, one at least"),
    "fps": (_above, "a whole number above 0"),
    "rendered_fps": (_above, "a whole number above 0"),
    "steps": (_steps, "three whole numbers: least, default, most"),
    "guidance": (_number(MOST_GUIDANCE), f"a number from 0 to {MOST_GUIDANCE:g}"),
    "capabilities": (_list(_text), "a list of texts"),
    "price_micros": (_whole, "a whole number from 0"),
    "cost_ms": (_whole, "a whole number from 0"),
}
OPTIONAL: _Rules = {
    "created": (_whole, "a whole number from 0"),
    "description": (_any_text, "a text"),
    "rates": (_table(_rate, _above), "a table of whole numbers above 0"),
    "strength": (_number(1), "a number from 0 to 1"),
    "loras": (_table(_text, _any_text), "a table of texts"),
    "options": (_table(_any_text, lambda _: True), "a table"),
}
