"""What the committed weights do with a user's own pictures and clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain.video import Operation, Plan, Size
from engines.dit.data import clip, draw, seconds
from engines.dit.engine import DitEngine
from engines.footage import Footage
from engines.protocol import Conditions
from tests.engines.dit.rendering import clip_of, decibels, footage, steps_between

FPS, SECONDS = 12, 2
SIZE = Size(144, 80)


@pytest.fixture(scope="module")
def trained() -> DitEngine:
    return DitEngine.load()


@pytest.fixture(scope="module")
def lake() -> np.ndarray:
    """Two seconds of the renderer's own: frames_THWC."""
    video_TCHW = draw([clip(904, "lake")], seconds(FPS * SECONDS, FPS), SIZE.height, SIZE.width)[0][0]
    return (video_TCHW.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def source(lake: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Footage:
    return footage(tmp_path_factory.mktemp("lake"), lake, FPS)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        model="kinema-dit", prompt="a mountain lake", seconds=SECONDS, rendered=SIZE, rendered_fps=FPS,
        delivered=SIZE, fps=FPS, seed=3, steps=4, guidance=2.0,
    )  # fmt: skip


def test_a_first_frame_is_kept_and_the_clip_goes_on_from_it(trained: DitEngine, plan: Plan, lake: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, lake[0].shape, dtype=np.uint8)
    for picture in (lake[0], noise):
        shown = clip_of(trained, plan, Conditions(first_frame_HWC=picture))
        assert decibels(shown[0], picture) >= 30
        assert steps_between(shown)[0] <= 1.5 * np.median(steps_between(shown))


def test_an_extension_begins_without_a_jump(trained: DitEngine, plan: Plan, source: Footage) -> None:
    asked = replace(plan, operation=Operation.EXTEND, source_clip="key", source_seconds=float(SECONDS))
    shown = clip_of(trained, asked, Conditions(source=source))
    seam = steps_between(np.stack([source.last(SIZE), shown[0]]))[0]
    assert seam <= 1.5 * np.median(steps_between(shown))


def test_an_edit_goes_farther_from_its_source_the_stronger_it_is(
    trained: DitEngine, plan: Plan, source: Footage
) -> None:
    whole = np.concatenate(list(source.frames(SIZE, FPS, FPS * SECONDS))).astype(np.float32)
    asked = replace(plan, operation=Operation.EDIT, source_clip="key", source_seconds=float(SECONDS))
    strengths = (0.0, 0.2, 0.5, 0.9)
    distances = [
        float(np.abs(clip_of(trained, replace(asked, strength=strength), Conditions(source=source)) - whole).mean())
        for strength in strengths
    ]
    assert distances[0] == 0
    assert distances == sorted(distances), dict(zip(strengths, distances, strict=True))


def test_a_mask_repaints_inside_alone(trained: DitEngine, plan: Plan, source: Footage) -> None:
    mask = np.zeros((SIZE.height, SIZE.width), np.uint8)
    mask[16:64, 48:112] = 255
    asked = replace(plan, operation=Operation.EDIT, source_clip="key", source_seconds=float(SECONDS), strength=0.9)
    whole = np.concatenate(list(source.frames(SIZE, FPS, FPS * SECONDS)))
    shown = clip_of(trained, asked, Conditions(source=source, mask_HW=mask))
    assert np.array_equal(shown[:, mask == 0], whole[:, mask == 0])
    assert decibels(shown[:, 24:56, 56:104], whole[:, 24:56, 56:104]) < 25
