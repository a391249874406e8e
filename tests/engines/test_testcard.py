"""The test card keeps the manners of a real engine."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domain.video import Lora, Operation, Plan, Shot, Size
from engines.encode import encode
from engines.footage import Footage
from engines.protocol import Conditions, Interrupted, Step
from engines.testcard import TestcardEngine

PLAN = Plan(
    model="testcard", prompt="", seconds=2, rendered=Size(96, 64), rendered_fps=6, delivered=Size(96, 64), fps=12,
    seed=3, steps=4, guidance=1.0,
)  # fmt: skip


def render(plan: Plan, conditions: Conditions | None = None) -> tuple[np.ndarray, list[Step]]:
    steps: list[Step] = []
    chunks = list(TestcardEngine().render(plan, conditions or Conditions(), steps.append))
    return np.concatenate(chunks), steps


def test_it_yields_every_frame_of_the_plan_at_its_size() -> None:
    frames, _ = render(PLAN)
    assert frames.shape == (12, 64, 96, 3)
    assert frames.dtype == np.uint8


def test_it_reports_each_step_before_the_frames() -> None:
    _, steps = render(PLAN)
    assert steps[:4] == [Step("denoise", index, 4) for index in range(4)]
    assert steps[-1] == Step("decode", 12, 12)


def test_the_same_plan_gives_the_same_bytes_and_another_seed_others() -> None:
    first, _ = render(PLAN)
    assert first.tobytes() == render(PLAN)[0].tobytes()
    assert first.tobytes() != render(replace(PLAN, seed=4))[0].tobytes()


def test_every_frame_differs_from_the_one_before() -> None:
    frames, _ = render(PLAN)
    assert all((a != b).any() for a, b in itertools.pairwise(frames))


def test_a_first_frame_opens_the_clip() -> None:
    picture = np.full((32, 48, 3), 77, np.uint8)
    frames, _ = render(PLAN, Conditions(picture))
    assert (frames[0] == 77).all()
    assert not (frames[1] == 77).all()


def test_an_interrupted_render_stops_and_the_engine_goes_on() -> None:
    engine = TestcardEngine()

    def stop(step: Step) -> None:
        if step.done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        list(engine.render(PLAN, Conditions(), stop))
    assert len(list(engine.render(PLAN, Conditions(), lambda _: None))) == 3


def test_a_wide_and_a_tall_and_a_tiny_size_are_drawn() -> None:
    for size in (Size(256, 144), Size(144, 256), Size(16, 16)):
        assert render(replace(PLAN, rendered=size))[0].shape == (12, size.height, size.width, 3)


def test_it_needs_no_torch() -> None:
    code = "import sys, engines.testcard; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


GREY = np.full((32, 48, 3), 77, np.uint8)
WHITE = np.full((32, 48, 3), 255, np.uint8)


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    """Two seconds of one grey."""
    frames_THWC = np.full((12, 64, 96, 3), 100, np.uint8)
    return Footage(encode([frames_THWC], PLAN, tmp_path, lambda _done, _total: None).video)


def plain() -> np.ndarray:
    return render(PLAN)[0].astype(int)


def test_the_last_frame_and_keyframes_stand_where_the_plan_has_them() -> None:
    frames, _ = render(PLAN, Conditions(last_frame_HWC=GREY, keyframes=((0.5, WHITE), (2.0, WHITE))))
    assert (frames[11] == 77).all(), "the last frame wins over a keyframe at the very end"
    assert (frames[3] == 255).all()
    assert not (frames[4] == 255).all()


def test_each_shot_turns_the_bars_and_opens_with_its_reference() -> None:
    shots = (Shot("one", 1), Shot("two", 1, reference="key"))
    frames, _ = render(replace(PLAN, shots=shots), Conditions(references=(None, GREY)))
    assert (frames[:6] == plain()[:6]).all()
    assert (frames[6] == 77).all()
    turned, _ = render(replace(PLAN, seed=PLAN.seed + 1))
    assert (frames[7:] == turned[7:]).all()


def test_an_edit_shows_its_source_through_the_card(footage: Footage) -> None:
    plan = replace(PLAN, operation=Operation.EDIT, source_clip="key", source_seconds=2.0, strength=0.25)
    frames, _ = render(plan, Conditions(source=footage))
    assert np.abs(frames - (100 + 0.25 * (plain() - 100))).max() < 4


def test_a_mask_keeps_the_source_where_it_is_black(footage: Footage) -> None:
    plan = replace(PLAN, operation=Operation.EDIT, source_clip="key", source_seconds=2.0, strength=1.0, mask="key")
    mask_HW = np.zeros((64, 96), np.uint8)
    mask_HW[:, 48:] = 255
    frames, _ = render(plan, Conditions(source=footage, mask_HW=mask_HW))
    assert np.abs(frames[:, :, :48].astype(int) - 100).max() < 4
    assert (frames[:, :, 48:] == plain()[:, :, 48:]).all()


def test_an_extension_counts_on_where_its_source_ends(footage: Footage) -> None:
    plan = replace(PLAN, operation=Operation.EXTEND, source_clip="key", source_seconds=2.0)
    frames, _ = render(plan, Conditions(source=footage))
    longer, _ = render(replace(PLAN, seconds=4))
    assert (frames == longer[12:]).all()


def test_motion_style_adapters_and_characters_leave_their_marks(footage: Footage) -> None:
    still, _ = render(replace(PLAN, motion_intensity=0.0))
    assert (still[1, :40] == still[7, :40]).all(), "the hand stands; only the counter goes on"
    styled, _ = render(replace(PLAN, style="noir"))
    assert (styled[:, 0] != plain()[:, 0]).any()
    assert (styled[:, 10:-10, 10:-10] == plain()[:, 10:-10, 10:-10]).all()
    tinted, _ = render(replace(PLAN, loras=(Lora("night", 1.0),)))
    assert tinted.mean() < plain().mean() * 0.6
    half, _ = render(replace(PLAN, loras=(Lora("night", 0.5),)))
    assert tinted.mean() < half.mean() < plain().mean()
    with_character, _ = render(PLAN, Conditions(characters=(footage,)))
    assert np.abs(with_character[:, :16, :24].astype(int) - 100).max() < 4
