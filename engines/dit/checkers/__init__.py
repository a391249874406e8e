"""Judges without taste: what a clip shows, measured from its pixels alone.

Each judge names what it sees, or None. It is right on clips of the renderer (its ceiling) and wrong on shuffled
captions (its chance); `engines.dit.evaluate` measures both next to the model. Clips are video_TCHW in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from engines.dit.checkers.colours import background, ground, nearest_colour, planet
from engines.dit.checkers.daylight import time_of_day
from engines.dit.checkers.movement import amount, camera, cuts
from engines.dit.checkers.objects import motion, object_colour, shape
from engines.dit.checkers.scenes import SceneJudge
from engines.dit.checkers.weather import weather

__all__ = [
    "JUDGES", "SceneJudge", "amount", "background", "camera", "cuts", "ground", "motion", "nearest_colour",
    "object_colour", "planet", "shape", "time_of_day", "weather",
]  # fmt: skip

JUDGES: Mapping[str, Callable[[Tensor], str | None]] = MappingProxyType(
    {
        "object": object_colour,
        "shape": shape,
        "motion": motion,
        "background": background,
        "ground": ground,
        "planet": planet,
        "time": time_of_day,
        "weather": weather,
        "camera": camera,
    }
)
"""By the name of the fact that each judges; families and styles need a `SceneJudge`."""
