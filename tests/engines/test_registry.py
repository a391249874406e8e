from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from domain.catalogue import Catalogue, load
from domain.video import Lora, Plan, Size
from engines.dit import checkpoint as checkpoints
from engines.dit import lora
from engines.protocol import Conditions, Engine
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


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter of the committed weights that bends every layer a little, at random."""
    networks, path = checkpoints.load(WEIGHTS), tmp_path / "loras" / "ink.safetensors"
    generator = torch.Generator().manual_seed(0)
    pairs = {
        name: (
            torch.randn(2, layer.in_features, generator=generator) * 0.1,
            torch.randn(layer.out_features, 2, generator=generator) * 0.1,
        )
        for name, layer in lora.layers(networks.transformer).items()
    }
    path.parent.mkdir()
    lora.save(lora.Adapter(pairs, 2.0, networks.config, networks.sha256, "", {}), path)
    return path


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


def clip_of(engine: Engine, *loras: Lora) -> np.ndarray:
    plan = Plan(
        model="a", prompt="a red ball rolls left", seconds=1, rendered=Size(64, 48), rendered_fps=4, fps=4, seed=7,
        delivered=Size(64, 48), steps=1, guidance=1.0, loras=loras,
    )  # fmt: skip
    return np.concatenate(list(engine.render(plan, Conditions(), lambda _: None)))


@pytest.mark.usefixtures("adapter")
def test_adapters_of_an_entry_reach_its_engine(catalogue: Catalogue, tmp_path: Path) -> None:
    entries = (tmp_path / "models.toml").read_text()
    (tmp_path / "models.toml").write_text(entries + '[model.loras]\nink = "loras/ink.safetensors"\n')
    registry = Registry(load(tmp_path / "models.toml"), tmp_path)
    plain, bent = clip_of(registry.engine("c")), clip_of(registry.engine("c"), Lora("ink", 1.0))
    assert not np.array_equal(plain, bent)
    assert np.array_equal(clip_of(registry.engine("c"), Lora("ink", 0.0)), plain), "without weight it is not there"
    assert np.array_equal(clip_of(registry.engine("c")), plain), "nothing of it stays"
    assert np.array_equal(clip_of(Registry(catalogue, tmp_path).engine("c")), plain)


@pytest.mark.usefixtures("catalogue")
def test_an_adapter_that_is_none_stops_the_load(tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").write_bytes(b"no adapter")
    entries = (tmp_path / "models.toml").read_text()
    (tmp_path / "models.toml").write_text(entries + '[model.loras]\nink = "ink.safetensors"\n')
    with pytest.raises(lora.Unfit, match=r"ink\.safetensors cannot be read"):
        Registry(load(tmp_path / "models.toml"), tmp_path).engine("c")
