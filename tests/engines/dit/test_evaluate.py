"""The exam measures, goes on where it was left, and draws its sheets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from domain.video import Size
from engines.dit import evaluate
from engines.dit.checkers.objects import OUTLINES
from engines.dit.checkpoint import Checkpoint, save
from engines.dit.data import Clip, clip
from engines.dit.data.scene import is_held_out
from engines.dit.data.shapes import SHAPES
from engines.dit.engine import DitEngine
from engines.dit.evaluate import attributes, behaviour, card, given, prompts, report
from engines.dit.evaluate.asking import decibels
from engines.dit.evaluate.measure import Measure, table
from engines.dit.evaluate.prompts import Question
from engines.dit.evaluate.strangers import picture


@pytest.fixture
def exam(engine: DitEngine) -> evaluate.Exam:
    return evaluate.Exam(engine, count=11, steps=1, size=Size(64, 48))


def test_every_attribute_is_asked_for_alike() -> None:
    names = [question.names[0] for question in prompts.single(2 * len(prompts.ATTRIBUTES))]
    assert sorted(names) == sorted(2 * prompts.ATTRIBUTES)


def test_combinations_and_synonyms_are_held_out_from_training() -> None:
    for question in prompts.combinations(8):
        assert any(is_held_out(pair) and pair[0] != "synonym" for pair in question.clip.unseen)
    for question in prompts.synonyms(8):
        assert any(kind == "synonym" and word in question.clip.caption for kind, word, _ in question.clip.unseen)
        assert set(question.names) <= {"object", "ground", "background", "planet"}
    assert not any(question.clip.unseen for question in prompts.single(22))


def test_what_a_judge_says_is_compared_with_the_caption_and_with_the_next_ones() -> None:
    names = ("object", "shape")
    questions = [Question(one, names) for one in (clip(seed, "shapes") for seed in range(40)) if judged(one, names)]
    told = [{name: (question.clip.facts or {})[name] for name in names} for question in questions]
    assert attributes.share(attributes.right(questions, told)) == 1
    assert attributes.share(attributes.by_chance(questions, told)) < 0.3
    assert attributes.by_chance(questions[:1], told[:1]) == []


def judged(one: Clip, names: tuple[str, ...]) -> bool:
    return set(names) <= set(one.facts or {})


def test_blending_the_given_frames_keeps_them_and_mixes_the_others(exam: evaluate.Exam) -> None:
    video = exam.truth(given.straight_clips(1)[0])
    held, blended = given.between(video)
    for guess in (held, blended):
        assert torch.equal(guess[list(given.GIVEN)], video[list(given.GIVEN)])
    assert decibels(blended, video) > 10
    assert torch.allclose(blended[6], (video[0] + video[12]) / 2, atol=1e-6)


def test_intensities_count_only_when_they_rise_strictly() -> None:
    assert behaviour.rising([1, 2, 3, 1, 1, 3]) == 0.5


def test_strange_pictures_are_varied_and_repeatable() -> None:
    pictures = [picture(seed, Size(64, 48)) for seed in range(6)]
    assert all(each.shape == (3, 48, 64) and each.min() >= 0 and each.max() <= 1 for each in pictures)
    assert all(each.std() > 0.05 for each in pictures)
    assert torch.equal(pictures[0], picture(0, Size(64, 48)))
    assert not torch.equal(pictures[0], pictures[3])


@pytest.mark.parametrize(
    "part",
    ["combination", "synonym", "first-frame", "autoencoder", "fill", "extension", "strength", "motion", "judges"],
)
def test_a_part_of_the_exam_gives_measures(exam: evaluate.Exam, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "KNOWN", range(2_000_000, 2_000_060))
    monkeypatch.setattr(attributes, "KNOWN_PAIRS", range(5000, 5010))
    attributes.scene_judge.cache_clear()
    measures = report.PARTS[part](evaluate.Exam(exam.engine, count=4, steps=1, size=exam.size))
    attributes.scene_judge.cache_clear()
    assert measures
    assert all(np.isfinite(each.value) for each in measures)
    assert measures[0].bar is not None


def test_a_plan_gives_the_same_bytes_twice(exam: evaluate.Exam) -> None:
    assert behaviour.repeatable(exam)[0].value == 1


def test_a_report_goes_on_where_it_was_left(
    networks: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(networks, tmp_path)
    ran = []

    def part(name: str) -> report.Part:
        return lambda exam: ran.append(name) or [Measure(name, 0.5, clips=exam.count, bar=0.4)]

    monkeypatch.setattr(report, "PARTS", {name: part(name) for name in ("single", "fill")})
    file, lines = tmp_path / "report.json", []
    evaluate.evaluate(tmp_path, ["single"], count=7, file=file)
    told = evaluate.evaluate(tmp_path, ["single", "fill"], count=7, file=file, say=lambda *line: lines.append(line))
    assert ran == ["single", "fill"]
    assert [share for share, _ in lines] == [0, 1]
    assert json.loads(file.read_text()) == told
    assert [each.what for each in evaluate.measures_of(told)] == ["single", "fill"]
    assert "| fill | 50 % | ≥ 40 % |" in evaluate.markdown(told)
    evaluate.evaluate(tmp_path, ["fill"], count=8, file=file)  # another exam
    assert ran == ["single", "fill", "fill"]


def test_a_table_says_what_was_measured_and_what_was_hoped() -> None:
    rows = table(
        [Measure("seam", 1.234, "", 3, bar=1.5, at_most=True), Measure("right", 0.755, ceiling=1.0, chance=0.1)]
    )
    assert "| seam | 1.23 | ≤ 1.50 |  |  | 3 |" in rows
    assert "| right | 76 % |  | 100 % | 10 % | 1 |" in rows
    assert Measure("seam", 1.6, bar=1.5, at_most=True).passed is False
    assert Measure("right", 0.5).passed is None


@pytest.mark.parametrize(
    ("before", "after", "fell"), [(0.92, 0.91, 0), (0.92, 0.89, 1), (0.5, 0.6, 0), (0.5, 0.4, 1), (0.5, 0.9, 0)]
)
def test_newer_weights_are_refused_when_a_bar_drops(
    before: float, after: float, fell: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, value in (("before", before), ("after", after)):
        told = [Measure("single attribute", value, bar=0.9).to_json(), Measure("no bar", 1 - value).to_json()]
        (tmp_path / name).write_text(json.dumps({"parts": {"single": {"measures": told}}}))
    assert evaluate.main(["compare", str(tmp_path / "before"), str(tmp_path / "after")]) == fell
    assert ("single attribute" in capsys.readouterr().out) == bool(fell)


@pytest.mark.parametrize(
    ("after", "code", "said"),
    [({"parts": {}}, 1, "single attribute"), ({"parts": {}, "count": 36}, 2, "another count")],
)
def test_weights_that_were_asked_less_are_refused_too(
    after: dict[str, object], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    told = {"parts": {"single": {"measures": [Measure("single attribute", 0.5, bar=0.9).to_json()]}}}
    for name, stored in (("before", told), ("after", after)):
        (tmp_path / name).write_text(json.dumps(stored))
    assert evaluate.main(["compare", str(tmp_path / "before"), str(tmp_path / "after")]) == code
    assert said in "".join(capsys.readouterr())


def test_every_sheet_is_drawn_small(exam: evaluate.Exam, tmp_path: Path) -> None:
    drawn = list(evaluate.draw_sheets(exam, tmp_path, ("first-frame", "inpaint", "shots")))
    assert [path.name for path in drawn] == ["dit-first-frame.webp", "dit-inpaint.webp", "dit-shots.webp"]
    for path in drawn:
        assert path.stat().st_size < 400_000
        with Image.open(path) as sheet:
            assert np.asarray(sheet.convert("RGB")).std() > 1


def test_the_command_line_measures_a_part(networks: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save(networks, tmp_path)
    asked = ["score", "--weights", str(tmp_path), "--part", "repeatable", "--count", "2", "--steps", "1", "--json"]
    assert evaluate.main(asked) == 0
    assert json.loads(capsys.readouterr().out)["parts"]["repeatable"]["measures"][0]["value"] == 1


def test_the_model_card_gets_its_blocks_anew(networks: Checkpoint, tmp_path: Path) -> None:
    save(replace(networks, card={"transformer": {"steps": 12, "minutes": 3}}), tmp_path)
    page = tmp_path / "README.md"
    page.write_text(
        "# Card\n\n<!-- made: begin -->\n<!-- made: end -->\nold\n<!-- measured: begin -->\nx\n<!-- measured: end -->\n"
    )
    told = {
        "checkpoint": "",
        "steps": 8,
        "size": "256x144",
        "parts": {"fill": {"seconds": 2.0, "measures": [Measure("fill", 0.5).to_json()]}},
    }
    card.fill(page, tmp_path, told)
    card.fill(page, tmp_path, told)
    text = page.read_text()
    assert text.count("| fill | 50 % |") == 1
    assert text.count("| training, transformer | steps 12, minutes 3 |") == 1
    assert "\nold\n" in text
    with pytest.raises(ValueError, match="no block 'other'"):
        card.replaced(text, "other", "")


def test_shapes_are_judged_by_the_outlines_of_the_renderer() -> None:
    assert set(OUTLINES) == set(SHAPES)
