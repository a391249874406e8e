from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from domain.video import Lora, Plan
from engines.diffusers.engine import DiffusersEngine
from engines.diffusers.refusal import Refused
from engines.protocol import Conditions

from .conftest import entry

EngineOf = Callable[[str], DiffusersEngine]


@pytest.fixture
def root(models: Path, tmp_path: Path) -> Path:
    """A folder with a model and an adapter that fits it, ink.safetensors."""
    (tmp_path / "wan").symlink_to(models / "wan")
    maker: Any = DiffusersEngine.load(entry("wan"), models)._loaded.base
    maker.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    maker.save_lora_weights(
        tmp_path, transformer_lora_layers=get_peft_model_state_dict(maker.transformer), weight_name="ink.safetensors"
    )
    return tmp_path


def load(root: Path, **loras: str) -> DiffusersEngine:
    return DiffusersEngine.load(entry("wan", "text", "loras", loras=loras), root)


def drawn(engine: DiffusersEngine, plan: Plan) -> np.ndarray:
    return np.concatenate(list(engine.render(plan, Conditions(), lambda _: None)))


def changed(root: Path, change: Callable[[str, torch.Tensor], tuple[str, torch.Tensor]]) -> None:
    """Other.safetensors, made from the one that fits."""
    found = load_file(root / "ink.safetensors")
    save_file(dict(change(*each) for each in found.items()), root / "other.safetensors")


def test_an_adapter_is_worn_only_when_it_is_asked_for(engine_of: EngineOf, root: Path, plan: Plan) -> None:
    engine, plain = load(root, ink="ink.safetensors"), drawn(engine_of("wan"), plan)
    assert np.array_equal(drawn(engine, plan), plain)
    worn = drawn(engine, replace(plan, loras=(Lora("ink", 1.0),)))
    assert not np.array_equal(worn, plain)
    assert not np.array_equal(worn, drawn(engine, replace(plan, loras=(Lora("ink", 0.3),))))
    assert np.array_equal(drawn(engine, plan), plain), "and taken off again"


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")  # several are what is meant
def test_adapters_may_have_any_names(root: Path, plan: Plan) -> None:
    changed(root, lambda name, weight: (name, weight * 2))
    engine = load(root, **{"ink v1.5": "ink.safetensors", "other/v1.5": "other.safetensors"})
    one, two = (drawn(engine, replace(plan, loras=(Lora(name, 1.0),))) for name in ("ink v1.5", "other/v1.5"))
    assert np.array_equal(one, drawn(load(root, ink="ink.safetensors"), replace(plan, loras=(Lora("ink", 1.0),))))
    assert not np.array_equal(one, two)


def test_an_adapter_of_other_shapes_is_refused(root: Path) -> None:
    changed(root, lambda name, weight: (name, torch.cat([weight, weight], dim=1 if "lora_A" in name else 0)))
    with pytest.raises(Refused, match=r"adapter other .*other\.safetensors\) does not fit WanPipeline: RuntimeError"):
        load(root, other="other.safetensors")


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_an_adapter_of_another_model_is_refused(root: Path) -> None:
    changed(root, lambda name, weight: (name.replace("transformer.", "unet."), weight))
    with pytest.raises(Refused, match="does not fit WanPipeline: none of its weights belongs to a layer"):
        load(root, ink="ink.safetensors", other="other.safetensors")


@pytest.mark.parametrize("content", [b"", b"no adapter", b"\x08\0\0\0\0\0\0\0{}      "[:12]])
def test_a_damaged_adapter_is_refused(root: Path, content: bytes) -> None:
    (root / "other.safetensors").write_bytes(content)
    with pytest.raises(Refused, match=r"the adapter other cannot be read, .*other\.safetensors is damaged"):
        load(root, other="other.safetensors")


def test_a_file_of_weights_that_are_no_adapter_is_refused(root: Path) -> None:
    save_file({"weight": torch.zeros(2, 2)}, root / "other.safetensors")
    with pytest.raises(Refused, match=r"the adapter other .*does not fit WanPipeline"):
        load(root, other="other.safetensors")
