"""The test card keeps the manners of a real engine."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from domain.video import Plan, Size
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
