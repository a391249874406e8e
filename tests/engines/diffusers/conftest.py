"""Tiny pipelines with random weights, saved once and loaded by the product's own loader. One thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from domain.catalogue import Model
from domain.video import Plan, Size
from engines.diffusers.engine import DiffusersEngine
from engines.encode import encode
from engines.footage import Footage
from tests.fixtures import pipelines

NAMES = ("wan", "wan_of_images", "wan_of_two_images", "wan_of_both", "ltx", "cogvideox", "cogvideox_of_images", "mochi")
SIZE = Size(48, 32)  # no multiple of LTX's 32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def entry(path: str, *capabilities: str, **others: Any) -> Model:
    values: dict[str, Any] = {
        "name": path, "engine": "diffusers", "pool": "gpu", "path": path, "aliases": (), "sizes": {"48x32": "48x32"},
        "seconds": (1, 2), "fps": 10, "rendered_fps": 10, "steps": (1, 2, 50), "guidance": 3.0, "price_micros": 1,
        "cost_ms": 1, "capabilities": frozenset(capabilities),
    }  # fmt: skip
    return Model(**{**values, **others})


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of model folders."""
    root = tmp_path_factory.mktemp("models")
    for name in NAMES:
        getattr(pipelines, name)().save_pretrained(root / name)
    return root


@pytest.fixture(scope="session")
def engine_of(models: Path) -> Callable[[str], DiffusersEngine]:
    """The engine of a model; loaded once."""
    loaded: dict[str, DiffusersEngine] = {}

    def engine(name: str) -> DiffusersEngine:
        if name not in loaded:
            loaded[name] = DiffusersEngine.load(entry(name), models)
        return loaded[name]

    return engine


@pytest.fixture
def plan() -> Plan:
    """Ten frames: a number that no family draws."""
    return Plan(
        model="tiny", prompt="a red ball rolls left", seconds=1, rendered=SIZE, rendered_fps=10, delivered=SIZE,
        fps=10, seed=7, steps=2, guidance=3.0,
    )  # fmt: skip


def picture(seed: int, height: int = 50, width: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Footage, Footage]:
    """Two different clips of a second each."""
    made = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("clip")
        plan = Plan(
            model="", prompt="", seconds=1, rendered=SIZE, rendered_fps=10, delivered=SIZE, fps=10, seed=0, steps=1,
            guidance=1.0,
        )  # fmt: skip
        frames_THWC = np.repeat(picture(seed, 4, 6)[None], 10, axis=0).repeat(8, axis=1).repeat(8, axis=2)
        made.append(Footage(encode([frames_THWC], plan, folder, lambda _done, _total: None).video))
    return made[0], made[1]
