"""Adapters bend the transformer, leave the base alone, and are refused where they do not fit."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engines.dit import lora
from engines.dit.checkpoint import Checkpoint, fresh, student
from engines.dit.conditioning import Window, controls
from engines.dit.lora import Adapter, Unfit
from engines.dit.model import Transformer
from tests.engines.dit.conftest import SMALL, WORDS

RANK = 3


def adapter_for(networks: Checkpoint, seed: int = 0) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        name: (
            torch.randn(RANK, layer.in_features, generator=generator) * 0.2,
            torch.randn(layer.out_features, RANK, generator=generator) * 0.2,
        )
        for name, layer in lora.layers(networks.transformer).items()
    }
    return Adapter(pairs, 6.0, networks.config, networks.sha256, "inkstyle", {"clips": 3})


def answer(networks: Checkpoint, transformer: Transformer) -> Tensor:
    noise = torch.randn(1, 3, 16, 4, 6, generator=torch.Generator().manual_seed(5))
    text = transformer.text(networks.vocabulary.encode([["a", "red", "ball"]]))
    with torch.no_grad():
        return transformer(noise, Window.of((3, 16, 4, 6), controls(12)), torch.tensor([0.3]), text)


def test_every_linear_layer_of_every_block_is_bent(networks: Checkpoint) -> None:
    names = {name.split(".")[-1] for name in lora.layers(networks.transformer)}
    assert {"mix", "leave", "widen", "narrow"} <= names
    assert all(name.startswith("blocks.") for name in lora.layers(networks.transformer))


def test_an_adapter_changes_the_answer_and_leaves_the_base_bit_equal(networks: Checkpoint) -> None:
    before = {name: value.clone() for name, value in networks.transformer.state_dict().items()}
    plain = answer(networks, networks.transformer)
    bent = lora.adapted(networks.transformer, [(adapter_for(networks), 1.0)])
    assert not torch.allclose(answer(networks, bent), plain, atol=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in networks.transformer.state_dict().items())
    assert torch.equal(answer(networks, networks.transformer), plain)


def test_what_is_not_bent_is_shared_and_not_copied(networks: Checkpoint) -> None:
    bent = lora.adapted(networks.transformer, [(adapter_for(networks), 1.0)])
    base = {weight.data_ptr() for weight in networks.transformer.parameters()}
    own = {name for name, weight in bent.named_parameters() if weight.data_ptr() not in base}
    assert own == {f"{name}.weight" for name in lora.layers(networks.transformer)}


def test_no_weight_is_the_base_itself(networks: Checkpoint) -> None:
    assert lora.adapted(networks.transformer, [(adapter_for(networks), 0.0)]) is networks.transformer
    assert lora.adapted(networks.transformer, []) is networks.transformer


def test_weights_scale_and_adapters_add_up(networks: Checkpoint) -> None:
    first, second = adapter_for(networks, 1), adapter_for(networks, 2)
    name = next(iter(first.pairs))
    base = lora.layers(networks.transformer)[name].weight
    both = lora.layers(lora.adapted(networks.transformer, [(first, 0.5), (second, -2.0)]))[name].weight
    (down, up), (other_down, other_up) = first.pairs[name], second.pairs[name]
    assert first.strength == 2.0
    assert torch.allclose(both, base + 2 * (0.5 * up @ down - 2 * other_up @ other_down), atol=1e-5)


def test_an_adapter_comes_back_from_disk_as_it_was(networks: Checkpoint, tmp_path: Path) -> None:
    made = adapter_for(networks)
    lora.save(made, tmp_path / "ink.safetensors")
    back = lora.load({"ink": tmp_path / "ink.safetensors"}, networks)["ink"]
    assert (back.alpha, back.config, back.base, back.trigger) == (6.0, SMALL, "", "inkstyle")
    assert (back.rank, dict(back.card)) == (RANK, {"clips": 3})
    assert all(
        torch.equal(a, b) for name in made.pairs for a, b in zip(made.pairs[name], back.pairs[name], strict=True)
    )


def test_networks_of_other_sizes_refuse_it(networks: Checkpoint, tmp_path: Path) -> None:
    lora.save(adapter_for(networks), tmp_path / "ink.safetensors")
    wider = replace(SMALL, transformer=replace(SMALL.transformer, width=96, heads=2))
    with pytest.raises(Unfit, match="other sizes"):
        lora.load({"ink": tmp_path / "ink.safetensors"}, fresh(wider, WORDS))


def test_larger_pictures_do_not_matter_and_another_base_is_logged(
    networks: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lora.save(adapter_for(networks), tmp_path / "ink.safetensors")
    larger = replace(SMALL, transformer=replace(SMALL.transformer, short_side=144, window=13))
    with caplog.at_level(logging.WARNING):
        lora.load({"ink": tmp_path / "ink.safetensors"}, replace(networks, config=larger))
        assert not caplog.records
        lora.load({"ink": tmp_path / "ink.safetensors"}, replace(networks, sha256="f" * 64))
    assert "another base" in caplog.text


def test_a_student_takes_the_adapters_of_its_teacher(networks: Checkpoint, tmp_path: Path) -> None:
    lora.save(adapter_for(networks), tmp_path / "ink.safetensors")
    assert lora.load({"ink": tmp_path / "ink.safetensors"}, student(networks))


def broken(path: Path, networks: Checkpoint, how: str) -> None:  # noqa: C901, PLR0912 - one case for each thing that is wrong
    """The same adapter with one thing wrong."""
    made = adapter_for(networks)
    lora.save(made, path)
    tensors, first = load_file(path), next(iter(made.pairs))
    header = {
        "kind": lora.KIND, "alpha": 6.0, "config": networks.config.to_json(), "base": "", "trigger": "", "card": {},
    }  # fmt: skip
    match how:
        case "half a pair":
            del tensors[first + ".up"]
        case "another rank":
            tensors[first + ".down"] = tensors[first + ".down"][:2].contiguous()
        case "a row too few":
            tensors[first + ".up"] = tensors[first + ".up"][1:].contiguous()
        case "a vector":
            tensors[first + ".down"] = tensors[first + ".down"].flatten()
        case "not finite":
            tensors[first + ".up"][0, 0] = torch.nan
        case "too large":
            for end in (".up", ".down"):
                tensors[first + end] = torch.full_like(tensors[first + end], 3e30)
        case "no rank":
            tensors = {name: value[:0] if name.endswith(".down") else value[:, :0] for name, value in tensors.items()}
        case "no strength":
            header["alpha"] = torch.nan
        case "another layer":
            tensors |= {f"blocks.9.mix{end}": tensors.pop(first + end) for end in (".down", ".up")}
        case "another kind":
            header["kind"] = "something else"
        case "no card":
            del header["card"]
        case _:
            header["config"] = {"codec": {"size": 3}}
    save_file(tensors, path, metadata={key: json.dumps(value) for key, value in header.items()})


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("half a pair", "pair of matrices"),
        ("another rank", "several ranks"),
        ("a row too few", "does not fit the layer"),
        ("a vector", "no matrix"),
        ("not finite", "not finite"),
        ("too large", "too large"),
        ("no rank", "or of none"),
        ("no strength", "no finite strength"),
        ("another layer", r"does not fit the layer blocks\.9\.mix"),
        ("another kind", "another kind"),
        ("no card", "no adapter"),
        ("another config", "no adapter"),
    ],
)
def test_what_is_malformed_is_refused_by_name(networks: Checkpoint, tmp_path: Path, how: str, said: str) -> None:
    broken(tmp_path / "ink.safetensors", networks, how)
    with pytest.raises(Unfit, match=rf"ink\.safetensors .*{said}"):
        lora.load({"ink": tmp_path / "ink.safetensors"}, networks)


def test_a_missing_file_and_a_file_of_something_else_are_refused(networks: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "noise.safetensors").write_bytes(b"nothing of the kind" * 10)
    for name in ("noise", "gone"):
        with pytest.raises(Unfit, match=f"{name}.safetensors cannot be read"):
            lora.load({name: tmp_path / f"{name}.safetensors"}, networks)
