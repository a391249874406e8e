"""The judges are right about the renderer's clips and wrong about shuffled captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from domain.video import Size
from engines.dit import evaluate
from engines.dit.checkers import SceneJudge, background, motion, nearest_colour, object_colour
from engines.dit.data import clip, draw, seconds
from engines.dit.data.words import COLOURS
from engines.dit.engine import DitEngine


@pytest.fixture(scope="module")
def judged() -> tuple[list[dict[str, str]], list[dict[str, str | None]]]:
    clips = evaluate.shapes_prompts(24)
    videos = [draw([one], seconds(24, 6), 54, 96)[0][0] for one in clips]
    return [evaluate.said(one) for one in clips], [evaluate.seen(video) for video in videos]


def test_the_judges_are_right_about_true_clips(judged: tuple[list, list]) -> None:
    table = evaluate.shares(*judged)
    assert min(table.values()) >= 0.95


def test_the_judges_do_not_say_yes_to_shuffled_captions(judged: tuple[list, list]) -> None:
    captions, sights = judged
    table = evaluate.shares(captions[1:] + captions[:1], sights)
    assert table["background"] < 0.35
    assert table["object"] < 0.35
    assert table["motion"] < 0.5
    assert table["all three"] < 0.1


def test_an_empty_clip_has_a_background_but_no_object_and_no_motion() -> None:
    video = torch.tensor(COLOURS["pink"]).view(1, 3, 1, 1).expand(8, 3, 54, 96)
    assert background(video) == "pink"
    assert object_colour(video) is None
    assert motion(video) is None


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_is_itself_also_in_shade(name: str) -> None:
    assert nearest_colour(torch.tensor(COLOURS[name]) * 0.92) == name


def test_the_scene_judge_knows_scenes() -> None:
    judge = SceneJudge(range(2000, 2250), 54, 96)
    clips = [clip(seed) for seed in range(500, 530)]
    right = [judge.family(draw([one], seconds(1, 6), 54, 96)[0][0]) == one.family for one in clips]
    assert sum(right) / len(right) > 0.85


def test_the_contact_sheet_is_small_and_has_a_row_for_each_prompt(
    engine: DitEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "PROMPTS", evaluate.PROMPTS[:4])
    monkeypatch.setattr(evaluate, "LANDSCAPE", Size(32, 16))
    short = evaluate.plan_for
    monkeypatch.setattr(
        evaluate, "plan_for", lambda *args, **rest: replace(short(*args, **rest), rendered=Size(32, 16))
    )
    evaluate.sheet(engine, tmp_path / "sheet.png", steps=1, seed=1)
    picture = Image.open(tmp_path / "sheet.png")
    assert picture.size == (1928, 216)
    assert (tmp_path / "sheet.png").stat().st_size < 600_000
    assert np.asarray(picture.convert("RGB")).std() > 1
