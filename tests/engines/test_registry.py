from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from domain.catalogue import Catalogue, load
from engines.registry import Registry

WEIGHTS = Path(__file__).parents[2] / "engines" / "dit" / "weights"
ENTRY = """
[[model]]
name = "{name}"
engine = "dit"
path = "{name}"
pool = "small"
aliases = ["{name}-latest"]
seconds = [4]
fps = 12
rendered_fps = 6
steps = [4, 8, 32]
guidance = 2.0
capabilities = ["text"]
price_micros = 1
cost_ms = 1
[model.sizes]
"256x144" = "144x80"
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    for name in "abc":
        shutil.copytree(WEIGHTS, tmp_path / name)
    (tmp_path / "models.toml").write_text("".join(ENTRY.format(name=name) for name in "abc"))
    return load(tmp_path / "models.toml")


def size(root: Path) -> int:
    return sum(file.stat().st_size for file in (root / "a").glob("**/*.safetensors"))


def test_the_model_that_was_not_used_for_longest_makes_room(catalogue: Catalogue, tmp_path: Path) -> None:
    registry = Registry(catalogue, tmp_path, weights_bytes=2 * size(tmp_path))
    a, b = registry.engine("a"), registry.engine("b")
    assert registry.engine("a-latest") is a
    c = registry.engine("c")
    assert (registry.engine("a") is a, registry.engine("c") is c) == (True, True)
    assert registry.engine("b") is not b


def test_a_model_larger_than_all_room_is_warm_alone(catalogue: Catalogue, tmp_path: Path) -> None:
    registry = Registry(catalogue, tmp_path, weights_bytes=1)
    a = registry.engine("a")
    assert registry.engine("a") is a
    registry.engine("b")
    assert registry.engine("a") is not a
