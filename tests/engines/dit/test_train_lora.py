"""An adapter learns a look from a folder of clips; the base does not change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from domain.video import Size
from engines.dit import clips, lora, lora_lessons, train_lora
from engines.dit.checkpoint import Checkpoint
from engines.dit.clips import BadClips
from engines.dit.train_lora import OtherTraining, Recipe
from tests.engines.dit.footage import write_clip, write_folder

SHORT = 48  # pixels
FEW = Recipe(steps=30, rank=4, rate=1e-2, fps=12, trigger="inkstyle")


@pytest.fixture(scope="module")
def small(networks: Checkpoint) -> Checkpoint:
    """Networks that were trained, so they say, on pictures small enough for a test."""
    config = replace(networks.config, transformer=replace(networks.config.transformer, short_side=SHORT))
    return replace(networks, config=config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("material") / "clips", 5, Size(96, 48))


def test_the_loss_falls_and_the_base_stays_bit_equal(small: Checkpoint, folder: Path, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in small.transformer.state_dict().items()}
    lines: list[tuple[float, str]] = []
    out = tmp_path / "new" / "ink.safetensors"
    made = train_lora.train(folder, small, out, FEW, report=lambda share, line: lines.append((share, line)))
    losses = made.card["loss_on_its_clips"]
    print(losses, made.card["loss_on_held_out_clips"])
    assert losses["adapted"] < 0.8 * losses["base"]
    assert made.card["loss_on_held_out_clips"]["adapted"] < made.card["loss_on_held_out_clips"]["base"]
    assert all(torch.equal(value, before[name]) for name, value in small.transformer.state_dict().items())
    assert all(weight.requires_grad for weight in small.transformer.parameters()), "as it was"
    assert [share for share, _ in lines] == pytest.approx([step / 30 for step in range(1, 31)])
    assert lines[-1][1].startswith("step 30, loss ")
    assert "held out" in lines[-1][1]
    read = lora.load({"ink": out}, small)["ink"]
    assert (read.rank, read.trigger, read.card) == (4, "inkstyle", made.card)
    assert json.loads(out.with_suffix(".json").read_text()) == made.card
    assert (made.card["clips"], made.card["steps"]) == (5, 30)


def test_beside_the_layers_and_added_to_them_is_the_same(small: Checkpoint, folder: Path, tmp_path: Path) -> None:
    """What was trained is what renders."""
    tuning = train_lora.Tuning(small, replace(FEW, steps=3), tmp_path / "state")
    material = lora_lessons.material_of(clips.find(folder), small, fps=12, trigger="")
    lesson = lora_lessons.lesson_of(material, 12, Random(1))
    for _ in range(3):
        tuning.learn(material)
    with torch.no_grad():
        for mean, value in zip(tuning.average, tuning.pairs.parameters(), strict=True):
            mean.copy_(value)

    def loss(model: object) -> float:
        generator = torch.Generator().manual_seed(0)
        return lora_lessons.loss_of(model, small.vocabulary, lesson, generator).item()

    with train_lora.beside(small.transformer, tuning.pairs, tuning.recipe.alpha / tuning.recipe.rank):
        hooked = loss(small.transformer)
    added = loss(lora.adapted(small.transformer, [(tuning.adapter({}), 1.0)]))
    assert added == pytest.approx(hooked, rel=0.02), "bfloat16 rounds differently"
    assert abs(added - loss(small.transformer)) > 5 * abs(added - hooked)


def test_training_in_two_parts_is_training_at_once(small: Checkpoint, folder: Path, tmp_path: Path) -> None:
    whole = train_lora.train(folder, small, tmp_path / "whole.safetensors", replace(FEW, steps=4))

    class Enough(Exception):
        pass

    def stop(share: float, _line: str) -> None:
        if share >= 0.5:
            raise Enough

    with pytest.raises(Enough):
        train_lora.train(folder, small, tmp_path / "parts.safetensors", replace(FEW, steps=4), report=stop)
    assert not (tmp_path / "parts.safetensors").exists()
    parts = train_lora.train(folder, small, tmp_path / "parts.safetensors", replace(FEW, steps=4))
    assert all(
        torch.equal(a, b) for name in whole.pairs for a, b in zip(whole.pairs[name], parts.pairs[name], strict=True)
    )


def test_a_state_of_another_training_is_refused(small: Checkpoint, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ink.safetensors"
    train_lora.train(folder, small, out, replace(FEW, steps=1))
    with pytest.raises(OtherTraining, match="remove it to begin anew"):
        train_lora.train(folder, small, out, replace(FEW, steps=1, rank=2))
    with pytest.raises(OtherTraining):
        train_lora.train(folder, replace(small, sha256="e" * 64), out, replace(FEW, steps=1))


def test_one_clip_in_eight_is_held_out_unless_there_are_few(small: Checkpoint, folder: Path, tmp_path: Path) -> None:
    found = clips.find(folder)
    material = lora_lessons.material_of(found, small, fps=12, trigger="inkstyle")
    assert (sum(map(len, material.learned.values())), len(material.held_out)) == (4, 1)
    assert material.held_out[0].words == ["inkstyle", "a", "red", "ball", "rolls", "right"]
    material = lora_lessons.material_of(found[:3], small, fps=12, trigger="")
    assert (sum(map(len, material.learned.values())), material.held_out) == (3, [])
    write_clip(tmp_path / "tall.mp4", Size(48, 96))
    (tmp_path / "tall.txt").write_text("tall")
    material = lora_lessons.material_of([*found, *clips.find(tmp_path)], small, fps=12, trigger="")
    assert {shape[2:] for shape in material.learned} == {(6, 10), (10, 6)}, "lying and upright stay apart"


def test_clips_that_cannot_be_used_are_refused_before_anything_is_written(small: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(BadClips):
        train_lora.train(tmp_path, small, tmp_path / "ink.safetensors", FEW)
    assert list(tmp_path.iterdir()) == []
