"""Both networks learn, and what they learned survives the disk."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
import torch

from engines.dit import checkpoint as checkpoints
from engines.dit import train, train_codec, train_transformer
from engines.dit.checkpoint import Checkpoint
from engines.dit.engine import DitEngine
from tests.engines.dit.conftest import SMALL


def test_the_codec_learns_in_a_few_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = checkpoints.fresh(SMALL, []).codec.train()
    run = train.Run(codec, tmp_path / "codec.pt", minutes=10, rate=2e-3, decay=0.9)
    video = train_codec.batch_at(1, rows=3, frames=5)
    errors = []
    for step in range(25):
        loss, squared = train_codec.loss_of(codec, video, step)
        run.learn(loss)
        errors.append(squared.item())
    assert sum(errors[-3:]) < 0.7 * sum(errors[:3])


def test_the_denoiser_learns_in_a_few_steps(networks: Checkpoint, tmp_path: Path) -> None:
    torch.manual_seed(0)
    words = train_transformer.words_of_grammar(SMALL.text, captions=200)
    fresh = checkpoints.fresh(SMALL, words)
    pool, lesson = train_transformer.Pool([], [], []), train_transformer.Lesson((64, 112), 7)
    train_transformer.fill(pool, networks.codec, lesson, 6, Random(0))
    run = train.Run(fresh.transformer, tmp_path / "dit.pt", minutes=10, rate=3e-3, decay=0.9)
    losses = []
    for step in range(60):
        batch = train_transformer.batch_of(pool, fresh.vocabulary, lesson, Random(step))
        losses.append(train_transformer.loss_of(fresh.transformer, batch, torch.Generator().manual_seed(step)))
        run.learn(losses[-1])
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    def run() -> train.Run:
        return train.Run(checkpoints.fresh(SMALL, []).codec, tmp_path / "codec.pt", minutes=10, rate=1e-3, decay=0.9)

    first = run()
    first.learn(train_codec.loss_of(first.model, train_codec.batch_at(0, rows=3, frames=5), 0)[0])
    first.save()
    second = run()
    assert second.step == 1
    assert second.clock.spent > 0
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert torch.equal(first.average.values["encoder.direct.weight"], second.average.values["encoder.direct.weight"])


@pytest.mark.parametrize("later", [False, True])
def test_tasks_are_masks_and_some_captions_are_empty(networks: Checkpoint, *, later: bool) -> None:
    pool, lesson = train_transformer.Pool([], [], []), train_transformer.Lesson((64, 112), 7, later=later)
    train_transformer.fill(pool, networks.codec, lesson, 4, Random(0))
    batches = [train_transformer.batch_of(pool, networks.vocabulary, lesson, Random(seed)) for seed in range(30)]
    known = torch.cat([batch.mask_BL.sum(1) for batch in batches])
    if later:
        assert set(known.tolist()) == {1.0, 2.0}
    else:
        assert 0.1 < (known == 1).float().mean() < 0.4
        assert known.max() == 1
    assert {batch.start for batch in batches} == {int(later)}
    assert {batch.clean_BLZhw.shape[1:] for batch in batches} == {(7, 16, 8, 14)}
    empty = torch.cat([(batch.rows_BNG == 0).all(2).all(1) for batch in batches])
    assert 0.02 < empty.float().mean() < 0.25


def test_lessons_grow_from_stills_and_small_clips_to_clips_at_the_working_size() -> None:
    first = {train_transformer.lesson_at(0.0, Random(seed)) for seed in range(50)}
    last = {train_transformer.lesson_at(0.99, Random(seed)) for seed in range(50)}
    assert {lesson.size for lesson in first if lesson.window == 7} == {(64, 112), (112, 64)}
    assert {(80, 144), (144, 80)} <= {lesson.size for lesson in last if lesson.window == 7}
    assert all(lesson.rows >= 4 for lesson in first | last)


def test_a_checkpoint_says_what_it_is_and_loads_as_it_was_saved(networks: Checkpoint, tmp_path: Path) -> None:
    checkpoints.save(networks, tmp_path)
    loaded = checkpoints.load(tmp_path)
    assert loaded.config == networks.config
    assert loaded.vocabulary.words == networks.vocabulary.words
    assert len(loaded.sha256) == 64
    for name, value in networks.transformer.state_dict().items():
        assert (loaded.transformer.state_dict()[name] - value).abs().max() <= 0.01 * value.abs().max(), name
    assert DitEngine.load(tmp_path).checkpoint == loaded.sha256


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoints.load(tmp_path)


def test_weights_of_something_else_are_refused(networks: Checkpoint, tmp_path: Path) -> None:
    checkpoints.save(networks, tmp_path)
    (tmp_path / "transformer.safetensors").write_bytes((tmp_path / "codec.safetensors").read_bytes())
    with pytest.raises(ValueError, match="description"):
        checkpoints.load(tmp_path)


def test_the_card_travels_with_the_weights(networks: Checkpoint, tmp_path: Path) -> None:
    card = {"minutes": 70, "clips": 30_000}
    values = (networks.config, networks.codec, networks.transformer, networks.vocabulary, card, "")
    checkpoints.save(Checkpoint(*values), tmp_path)
    assert json.dumps(checkpoints.load(tmp_path).card) == json.dumps(card)
