"""Renders and sources for the tests of the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from domain.video import Plan, Size
from engines.dit.engine import DitEngine
from engines.encode import encode
from engines.footage import Footage
from engines.protocol import Conditions, Step


def render(engine: DitEngine, plan: Plan, conditions: Conditions | None = None) -> tuple[list[np.ndarray], list[Step]]:
    """All chunks, and all steps that were told."""
    steps: list[Step] = []
    return list(engine.render(plan, conditions or Conditions(), steps.append)), steps


def clip_of(engine: DitEngine, plan: Plan, conditions: Conditions | None = None) -> np.ndarray:
    """All frames_THWC."""
    return np.concatenate(render(engine, plan, conditions)[0])


def footage(folder: Path, frames_THWC: np.ndarray, fps: int) -> Footage:
    """Frames as a clip on disk."""
    height, width = frames_THWC.shape[1:3]
    plan = Plan(
        model="testcard", prompt="", seconds=len(frames_THWC) // fps, rendered=Size(width, height), rendered_fps=fps,
        delivered=Size(width, height), fps=fps, seed=0, steps=1, guidance=1.0,
    )  # fmt: skip
    return Footage(encode([frames_THWC], plan, folder, lambda _done, _total: None).video)


def moving(seconds: int, fps: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A bright disc that wanders over a ramp: frames_THWC."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    frames = []
    for number in range(seconds * fps):
        disc = np.exp(-((x - width * (0.2 + 0.6 * number / (seconds * fps))) ** 2 + (y - height / 2) ** 2) / 60)
        frames.append(np.stack([x / width * 120 + 120 * disc, y / height * 180, 90 + 120 * disc], axis=-1))
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio."""
    return float(-10 * np.log10(np.square(a / 255.0 - b / 255.0).mean() + 1e-9))


def steps_between(frames_THWC: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each frame from the one before."""
    return np.abs(np.diff(frames_THWC.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
