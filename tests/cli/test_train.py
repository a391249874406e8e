"""`kinema train` as users run it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from cli import main, training_bar
from cli.train import STAGES
from cli.training_bar import Paused, reporting
from domain.video import Size
from engines.dit import checkpoint as checkpoints
from engines.dit import lessons, lora, train, train_transformer
from engines.dit.checkpoint import Checkpoint
from engines.dit.config import SIZES, CodecConfig
from engines.dit.model import Transformer
from tests.engines.dit.conftest import SMALL, WORDS
from tests.engines.dit.footage import write_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained and small."""
    folder = tmp_path_factory.mktemp("weights")
    config = replace(SMALL, transformer=replace(SMALL.transformer, short_side=48))
    checkpoints.save(checkpoints.fresh(config, WORDS), folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("material") / "clips", 4, Size(96, 48))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_less_than_a_minute_lowers_the_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small transformer on small clips, from nothing to weights that an engine loads."""
    small = replace(SMALL, codec=CodecConfig())
    monkeypatch.setitem(SIZES, "small", small)
    monkeypatch.setattr(lessons, "PLAN", ((1.01, {((48, 80), 3): 1.0}),))
    monkeypatch.setattr(lessons, "SHAPES", {(48, 80): {(48, 80): 1.0}})
    monkeypatch.setattr(lessons, "KINDS", {"start": 1.0})
    monkeypatch.setattr(lessons, "RATES", {6.0: 1.0})
    monkeypatch.setattr(lessons, "TOKENS", 400)
    monkeypatch.setattr(train, "FIRST", 16)
    monkeypatch.setattr(train, "GRID", 10_000)
    monkeypatch.setattr(train, "TOLD", 1)
    monkeypatch.setattr(training_bar, "EVERY", 0.0)
    state = ["--state", str(tmp_path)]
    assert main.main(["train", "codec", "--minutes", "0.02", "--begin", str(checkpoints.WEIGHTS), *state]) == 0
    assert main.main(["train", "model", "--minutes", "0.5", *state]) == 0
    assert re.search(r"^ +[1-9][0-9]%  dit [0-9]+ minute 0\.", capsys.readouterr().err, re.MULTILINE)

    assert main.main(["train", "export", *state, "--out", str(tmp_path / "weights")]) == 0
    made = checkpoints.load(tmp_path / "weights")
    assert made.config == small
    assert made.card["transformer"]["minutes"] == pytest.approx(0.5, abs=0.15)
    before, after = (loss_of(each) for each in (replace(made, transformer=untrained(made)), made))
    print(f"loss {before:.3f} -> {after:.3f} in {made.card['transformer']['steps']} steps")
    assert after < 0.9 * before


def untrained(networks: Checkpoint) -> Transformer:
    return checkpoints.fresh(networks.config, list(networks.vocabulary.words)).transformer


def loss_of(networks: Checkpoint) -> float:
    """On clips, tasks and noise that are always the same."""
    pool, lesson = train_transformer.Pool([]), lessons.Lesson((48, 80), 3, fps=6.0)
    train_transformer.fill(pool, networks.codec, lesson, 16, Random(0))
    batch = train_transformer.batch_of(pool, networks.vocabulary, lesson, Random(1))
    with torch.no_grad():
        return train_transformer.loss_of(networks.transformer, batch, torch.Generator().manual_seed(2)).item()


def test_an_adapter_is_trained_from_a_folder(
    weights: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "loras" / "ink.safetensors"
    asked = ["--weights", str(weights), "--out", str(out), "--steps", "3", "--rank", "2", "--trigger", "inkstyle"]
    assert main.main(["train", "lora", str(folder), *asked]) == 0
    said = capsys.readouterr()
    assert f'[model.loras]\nink = "{out}"' in said.out
    assert "step 1, loss" in said.err
    assert "100%  step 3, loss" in said.err
    made = lora.load({"ink": out}, checkpoints.load(weights))["ink"]
    assert (made.rank, made.alpha, made.trigger, made.card["steps"]) == (2, 2.0, "inkstyle", 3)
    assert json.loads(out.with_suffix(".json").read_text())["clips"] == 4


def test_a_slice_ends_and_the_same_command_goes_on(
    weights: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ink.safetensors"
    command = ["train", "lora", str(folder), "--weights", str(weights), "--out", str(out), "--steps", "3"]
    assert main.main([*command, "--slice", "0.00001"]) == 0
    assert "The same command goes on" in capsys.readouterr().err
    assert not out.exists()
    assert main.main(command) == 0
    assert json.loads(out.with_suffix(".json").read_text())["steps"] == 3
    assert "step 1," not in capsys.readouterr().err, "one was done in the slice"


def test_the_manual_shows_every_stage_and_no_other() -> None:
    manual = (ROOT / "docs" / "training.md").read_text()
    assert {*re.findall(r"kinema train (\w+)", manual), "unpack"} == set(STAGES)


def test_what_is_wrong_with_the_clips_is_said_in_lines(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no clip")
    (tmp_path / "a.txt").write_text("a clip")
    command = ["train", "lora", str(tmp_path), "--weights", str(weights), "--out", str(tmp_path / "ink.safetensors")]
    assert main.main(command) == 1
    assert capsys.readouterr().err.endswith(f"\n{tmp_path} cannot be trained on:\na.mp4: no readable clip\n")


def test_weights_are_examined_and_shown(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--weights", str(weights), "--steps", "1"]
    exam = tmp_path / "exam.json"
    assert main.main(["train", "evaluate", *few, "--count", "2", "--part", "repeatable", "--file", str(exam)]) == 0
    said = capsys.readouterr()
    assert checkpoints.digest(weights)[:12] in said.out
    assert "100%  repeatable" in said.err
    assert list(json.loads(exam.read_text())["parts"]) == ["repeatable"]
    assert main.main(["train", "sheet", *few, "--only", "styles", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "dit-styles.webp").stat().st_size > 1000


@pytest.mark.parametrize(("stage", "option"), [("evaluate", "--part"), ("sheet", "--only")])
def test_what_does_not_exist_is_answered_with_what_does(
    stage: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path)] if stage == "sheet" else []
    assert main.main(["train", stage, option, "dance", *out]) == 1
    said = capsys.readouterr().err
    assert " dance; there are " in said
    assert {"evaluate": "first-frame", "sheet": "mission"}[stage] in said


def test_weights_that_are_not_there_are_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = tmp_path / "nowhere"
    assert main.main(["train", "lora", str(folder), "--weights", str(gone), "--out", str(tmp_path / "a")]) == 1
    assert str(gone) in capsys.readouterr().err


def test_a_signal_keeps_what_was_learned(weights: Path, folder: Path, tmp_path: Path) -> None:
    """SIGTERM, which does what Ctrl-C does."""
    out = tmp_path / "ink.safetensors"
    command = [sys.executable, "-m", "cli.main", "train", "lora", str(folder), "--weights", str(weights)]
    command += ["--out", str(out), "--minutes", "10", "--threads", "1"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Reading ")
        assert "step 1," in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(30) == 130
    assert "Traceback" not in said
    assert said.endswith("kept. The same command goes on from here.\n")
    assert out.with_suffix(".state").exists()
    assert not out.exists()


def test_lines_are_few_and_the_last_one_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with reporting() as report:
        for step in range(5):
            report(step / 4, f"step {step}")
    assert capsys.readouterr().err == "  0%  step 0\n100%  step 4\n"
    monkeypatch.setattr(training_bar, "EVERY", 0.0)
    with pytest.raises(Paused), reporting(1e-9) as report:
        report(0.5, "half")
    assert capsys.readouterr().err == " 50%  half\n"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with reporting() as report:
        report(0.25, "step 1, loss 0.5")
    said = capsys.readouterr().err
    assert "25 %" in said
    assert "step 1, loss 0.5" in said
