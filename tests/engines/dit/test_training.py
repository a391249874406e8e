"""Both networks learn, and what they learned survives the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch

from engines.dit import checkpoint as checkpoints
from engines.dit import lessons, parallel, train_codec, train_transformer
from engines.dit.checkpoint import Checkpoint
from engines.dit.conditioning import moment
from engines.dit.data.director import STILL
from engines.dit.engine import DitEngine
from engines.dit.lessons import Kind, Lesson
from engines.dit.run import Run
from engines.dit.train import Stale, export, of_one_piece, own, train_denoiser
from engines.dit.train_transformer import Pool
from engines.dit.travel import pack, unpack
from tests.engines.dit.conftest import SMALL
from tests.journeys.system import eventually


def test_the_codec_learns_in_a_few_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = checkpoints.fresh(SMALL, []).codec.train()
    run = Run(codec, tmp_path / "codec.pt", minutes=10, rate=2e-3, decay=0.9)
    video = train_codec.batch_at(1, rows=3, frames=5)
    errors = []
    for step in range(25):
        assert run.goes_on()
        loss, squared = train_codec.loss_of(codec, video, step)
        run.learn(loss)
        errors.append(squared.item())
    assert sum(errors[-3:]) < 0.7 * sum(errors[:3])


def test_the_denoiser_learns_in_a_few_steps(networks: Checkpoint, tmp_path: Path) -> None:
    torch.manual_seed(0)
    words = train_transformer.words_of_grammar(SMALL.text, captions=200)
    fresh = checkpoints.fresh(SMALL, words)
    pool, lesson = Pool([]), Lesson((64, 112))
    train_transformer.fill(pool, networks.codec, lesson, 6, Random(0))
    run = Run(fresh.transformer, tmp_path / "dit.pt", minutes=10, rate=3e-3, decay=0.9)
    losses = []
    for step in range(60):
        batch = train_transformer.batch_of(pool, fresh.vocabulary, lesson, Random(step))
        losses.append(train_transformer.loss_of(fresh.transformer, batch, torch.Generator().manual_seed(step)))
        assert run.goes_on()
        run.learn(losses[-1])
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    def run() -> Run:
        return Run(checkpoints.fresh(SMALL, []).codec, tmp_path / "codec.pt", minutes=10, rate=1e-3, decay=0.9)

    first = run()
    first.learn(train_codec.loss_of(first.model, train_codec.batch_at(0, rows=3, frames=5), 0)[0])
    first.save()
    second = run()
    assert second.step == 1
    assert second.clock.spent > 0
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert torch.equal(first.average.values["encoder.direct.weight"], second.average.values["encoder.direct.weight"])


def test_a_gradient_that_is_no_number_changes_nothing_and_twenty_end_the_run(tmp_path: Path) -> None:
    codec = checkpoints.fresh(SMALL, []).codec
    run = Run(codec, tmp_path / "codec.pt", minutes=10, rate=1e-3, decay=0.9)
    before = {name: value.clone() for name, value in codec.state_dict().items()}

    def learn(factor: float) -> None:
        run.learn(factor * torch.stack([weight.square().sum() for weight in codec.parameters()]).sum())

    learn(float("nan"))
    assert all(torch.equal(before[name], value) for name, value in codec.state_dict().items())
    learn(1.0)
    assert not torch.equal(before["encoder.direct.weight"], codec.encoder.direct.weight)
    for _ in range(20):
        learn(float("inf"))
    with pytest.raises(FloatingPointError):
        learn(float("inf"))


def written(folder: Path, name: str, network: torch.nn.Module, **told: object) -> None:
    Run(network, folder / f"{name}.pt", minutes=10, rate=1e-3, decay=0.9, networks=told).save()


def test_states_that_do_not_belong_together_are_told_apart(networks: Checkpoint, tmp_path: Path) -> None:
    told = {"words": list(networks.vocabulary.words), "config": networks.config.to_json()}
    written(tmp_path, "codec", networks.codec)
    of_codec = of_one_piece(tmp_path / "transformer.pt", {"codec": networks.codec})
    written(tmp_path, "transformer", networks.transformer, **told, **of_codec)
    export(tmp_path, tmp_path / "weights")

    pack(tmp_path / "codec.pt", tmp_path / "parts")  # what travels loses digits, and is still the same
    (tmp_path / "codec.pt").unlink()
    unpack(tmp_path / "parts" / "codec.sha256", tmp_path)
    export(tmp_path, tmp_path / "weights")

    (tmp_path / "codec.pt").unlink()
    written(tmp_path, "codec", checkpoints.fresh(networks.config, [], seed=5).codec)
    with pytest.raises(Stale, match=r"transformer\.pt was made from another codec\.pt"):
        export(tmp_path, tmp_path / "weights")
    with pytest.raises(Stale, match="move it away"):
        train_denoiser(1.0, tmp_path)


@pytest.mark.parametrize(
    ("kind", "latents"), [("start", 7), ("later", 7), ("keyed", 8), ("between", 9), ("anchors", 7)]
)
def test_tasks_are_masks_and_some_captions_are_empty(networks: Checkpoint, kind: Kind, latents: int) -> None:
    pool, lesson = Pool([]), Lesson((64, 112), kind=kind, fps=0.25 if kind == "anchors" else 6.0)
    train_transformer.fill(pool, networks.codec, lesson, 4, Random(0))
    batches = [train_transformer.batch_of(pool, networks.vocabulary, lesson, Random(seed)) for seed in range(30)]
    assert {batch.clean_BLZhw.shape[1:] for batch in batches} == {(latents, 16, 8, 14)}
    empty = torch.cat([(batch.rows_BNG == 0).all(2).all(1) for batch in batches])
    assert 0.02 < empty.float().mean() < 0.25
    window = batches[0].window
    whole = torch.cat([batch.window.mask_BLhw.amin((2, 3)) for batch in batches])
    partly = torch.cat([batch.window.mask_BLhw.amax((2, 3)) for batch in batches])
    match kind:
        case "start":
            assert window.still_BL[0].tolist() == [1, 0, 0, 0, 0, 0, 0]
            assert 0.2 < (whole.sum(1) > 0).float().mean() < 0.5
            assert ((partly - whole).sum(1) == latents).any(), "a region is known in every latent frame"
        case "later":
            assert window.at_BL[0, :6].tolist() == [1, 2, 3, 4, 5, 6]
            assert -16 <= window.at_BL[0, 6] <= 0 or 2 < window.at_BL[0, 6] <= moment(24)
            assert set(whole.sum(1).tolist()) == {2.0, 3.0}
            assert whole[:, -1].all(), "the reference is always known"
        case "keyed":
            assert window.still_BL[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
            assert whole[:, -1].all()
            assert set(whole.sum(1).tolist()) == {1.0, 2.0}
        case "between":
            assert window.still_BL[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 1, 1]
            assert whole[:, -2:].all()
            assert 0 < window.at_BL[0, 7] < window.at_BL[0, 8] == moment(25)
            assert set(whole.sum(1).tolist()) == {2.0, 3.0}
        case "anchors":
            assert window.still_BL.all()
            assert window.at_BL[0].tolist() == [0, 12, 24, 36, 48, 60, 72]


def learn_together(folder: Path) -> None:
    """A few steps, in each process from other examples."""
    torch.manual_seed(0)
    codec = checkpoints.fresh(SMALL, []).codec.train()
    run = Run(codec, folder / "codec.pt", minutes=10, rate=1e-3, decay=0.9)
    for step in range(3):
        assert run.goes_on()
        run.learn(train_codec.loss_of(codec, train_codec.batch_at(own(step), rows=4, frames=5), 1000 + step)[0])
    run.save()
    torch.save(codec.state_dict(), folder / f"process-{parallel.rank()}.pt")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_learn_together_stay_equal(tmp_path: Path) -> None:
    parallel.together(2, partial(learn_together, tmp_path))
    first, second = (torch.load(tmp_path / f"process-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    alone = tmp_path / "alone"
    alone.mkdir()
    parallel.together(1, partial(learn_together, alone))
    other = torch.load(alone / "process-0.pt", weights_only=True)
    assert not all(torch.equal(first[name], other[name]) for name in first), "they learned from each other's examples"
    assert torch.load(tmp_path / "codec.pt", weights_only=True)["step"] == 3


def wait_for_the_end(folder: Path) -> None:
    """Be one of the processes, and stay."""
    (folder / f"here-{parallel.rank()}").write_text(str(os.getpid()))
    threading.Event().wait()


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_learn_together_end_with_their_parent_in_the_background_too(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal; from functools import partial; from engines.dit import parallel; "
        "from tests.engines.dit.test_training import wait_for_the_end; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        f"parallel.together(2, partial(wait_for_the_end, pathlib.Path({str(tmp_path)!r})))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        eventually(lambda: len([each for each in tmp_path.glob("here-*") if each.read_text()]) == 2, within=120)
    finally:
        parent.kill()
        parent.wait()
    children = [int(each.read_text()) for each in tmp_path.glob("here-*")]
    eventually(lambda: not any(alive(each) for each in children), within=20)


def test_what_is_learned_last_is_drawn_more_often() -> None:
    rng = Random(0)
    clips = [train_transformer.chosen(rng) for _ in range(1500)]
    scenes = [one for one in clips if one.family != "shapes"]
    assert 0.32 < 1 - len(scenes) / len(clips) < 0.52
    assert sum(one.camera != STILL for one in scenes) > 0.5 * len(scenes)
    assert sum(bool(one.style) for one in scenes) > 0.5 * len(scenes)
    assert any(not one.style and one.camera == STILL for one in scenes)
    assert not any(one.unseen for one in clips)


def test_what_goes_on_is_sometimes_told_where_to(networks: Checkpoint) -> None:
    lesson, moments = Lesson((64, 112), kind="later", fps=6.0), []
    for seed in range(12):
        train_transformer.fill(pool := Pool([]), networks.codec, lesson, 1, Random(seed))
        moments.append(pool.examples[0].at_L[-1].item())
    assert any(each > 0 for each in moments)
    assert any(each <= 0 for each in moments)


def test_every_kind_of_lesson_is_taught_upright_too() -> None:
    drawn = {lessons.lesson_at(share / 3000, Random(share)) for share in range(3000)}
    for kind in lessons.KINDS:
        shapes = {each.size[0] > each.size[1] for each in drawn if each.kind == kind and each.window > 1}
        assert shapes == {False, True}, kind
    assert {each.apart for each in drawn if each.kind == "anchors"} == {12.0, 6.0}


def test_what_a_clip_is_told_besides_its_caption_is_sometimes_left_out(networks: Checkpoint) -> None:
    pool, lesson = Pool([]), Lesson((64, 112), 1)
    train_transformer.fill(pool, networks.codec, lesson, 24, Random(0))
    batches = [train_transformer.batch_of(pool, networks.vocabulary, lesson, Random(seed)) for seed in range(4)]
    told = torch.cat([batch.window.controls_BC for batch in batches])
    assert 0.4 < told[:, 2].mean() < 0.8, "motion intensity"
    assert 0.05 < told[:, 3:7].sum(1).mean() < 0.6, "style"
    assert 0.02 < (told[:, 7:] != 0).any(1).float().mean() < 0.5, "camera"
    assert told[:, 7:].abs().max() <= 1


def test_a_photograph_is_always_shown_before_it_is_gone_on_with(
    networks: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_transformer, "PHOTOGRAPHS", 1.0)
    pool, lesson = Pool([]), Lesson((64, 112))
    train_transformer.fill(pool, networks.codec, lesson, 4, Random(0))
    assert all("photo" in each.clip.caption or each.clip.caption in ("a picture", "") for each in pool.examples)
    batches = [train_transformer.batch_of(pool, networks.vocabulary, lesson, Random(seed)) for seed in range(10)]
    assert all(batch.window.mask_BLhw[:, 0].all() and not batch.window.mask_BLhw.all() for batch in batches)


def test_what_a_window_is_given_has_no_part_in_the_loss(networks: Checkpoint) -> None:
    pool, lesson = Pool([]), Lesson((64, 112), kind="later")
    train_transformer.fill(pool, networks.codec, lesson, 3, Random(0))
    batch = train_transformer.batch_of(pool, networks.vocabulary, lesson, Random(0))
    batch.window.mask_BLhw[:] = 1
    assert train_transformer.loss_of(networks.transformer, batch, torch.Generator().manual_seed(0)) == 0


def test_lessons_grow_from_stills_and_small_clips_to_clips_at_the_full_size() -> None:
    first = [lessons.lesson_at(0.0, Random(seed)) for seed in range(200)]
    last = [lessons.lesson_at(0.99, Random(seed)) for seed in range(200)]

    def large(drawn: list[Lesson]) -> float:
        return sum(min(lesson.size) > 100 and lesson.window > 1 for lesson in drawn) / len(drawn)

    assert large(first) < 0.3
    assert large(last) > 0.6
    assert {lesson.kind for lesson in last} == set(lessons.KINDS)
    assert {lesson.size for lesson in last} >= {(144, 256), (256, 144), (128, 224), (224, 128)}
    assert all(lesson.rows >= 3 for lesson in first + last)


def test_new_networks_adopt_what_older_ones_know(networks: Checkpoint) -> None:
    words = [*networks.vocabulary.words[3:], "zeppelin"]
    new = checkpoints.fresh(networks.config, words, seed=5)
    checkpoints.adopt(new, networks)
    table, old = new.transformer.text.table.weight, networks.transformer.text.table.weight
    assert torch.equal(table[new.vocabulary.row["red"]], old[networks.vocabulary.row["red"]])
    assert torch.equal(table[-SMALL.text.buckets :], old[-SMALL.text.buckets :])
    assert torch.equal(new.transformer.leave.weight, networks.transformer.leave.weight)


def test_weights_of_a_network_with_fewer_inputs_give_the_same_answer(networks: Checkpoint) -> None:
    state = dict(networks.transformer.state_dict())
    before = {name: value for name, value in state.items() if not name.startswith(("steer", "finish"))}
    before["enter.weight"] = torch.cat([state["enter.weight"][:, :-4], state["enter.weight"][:, -4:].sum(1, True)], 1)
    before["place.weight"] = state["place.weight"][:, :-1]
    grown = checkpoints.grown(before, networks.transformer)
    assert {name: value.shape for name, value in grown.items()} == {name: v.shape for name, v in state.items()}
    assert torch.allclose(grown["enter.weight"][:, -4:].sum(1), state["enter.weight"][:, -4:].sum(1))
    assert not grown["steer.weight"].any()
    assert not grown["place.weight"][:, -1].any()


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
