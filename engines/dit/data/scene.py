"""What a scene family hands out, and which combinations the model never sees in training."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from engines.dit.data.canvas import Values

Pair = tuple[str, str, str]  # kind of the combination, and its two parts: ("style", "noir", "sea")

ONE_IN = {"style": 8, "camera": 8, "shape": 8, "motion": 8, "synonym": 6}  # combinations of a kind are held out


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene before the director adds style, camera and tempo."""

    values: Values
    sentence: str
    facts: Mapping[str, str]  # what the sentence says and a judge can see
    pairs: tuple[Pair, ...] = ()  # combinations with something new in it, which may be held out


def is_held_out(pair: Pair) -> bool:
    """Whether a combination is kept from training: a stable hash of its names decides."""
    return (zlib.crc32("/".join(pair).encode()) >> 7) % ONE_IN[pair[0]] == 0
