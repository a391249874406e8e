from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.video import Plan
from engines.diffusers.engine import DiffusersEngine
from engines.diffusers.parts import cut
from engines.protocol import Conditions, Step

from .conftest import entry, picture


def quiet(_: Step) -> None:
    pass


def load(models: Path, name: str = "wan", **options: Any) -> DiffusersEngine:
    return DiffusersEngine.load(entry(name, options=options), models)


def drawn(engine: DiffusersEngine, plan: Plan, conditions: Conditions | None = None) -> np.ndarray:
    return np.concatenate(list(engine.render(plan, conditions or Conditions(), quiet)))


def test_a_backend_that_is_missing_is_passed_over_with_one_line(
    models: Path, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "engines.diffusers"):
        engine = load(models, attention=["sage", "native"])
    assert len(caplog.records) == 1
    assert caplog.records[0].__dict__["option"] == "attention=sage"
    assert engine.facts["attention"] == "native"
    assert "attention=sage" in engine.facts["left_out"]
    assert np.array_equal(drawn(engine, plan), drawn(load(models), plan))


def test_what_needs_a_gpu_is_left_out_without_one(models: Path, plan: Plan) -> None:
    engine = load(models, offload="model")
    assert "in main memory already" in engine.facts["left_out"]["offload"]
    assert len(drawn(engine, plan)) == 10


def test_a_cache_skips_forwards_and_starts_anew_with_each_render(models: Path, plan: Plan) -> None:
    engine = load(models, cache="first_block", cache_threshold=0.9)
    assert engine.facts["cache"] == "first_block"
    long = replace(plan, steps=6)
    last_block: Any = engine._loaded.base.transformer.blocks[-1]
    ran: list[None] = []
    last_block.ffn.register_forward_hook(lambda *_: ran.append(None))
    first = drawn(engine, long)
    assert 0 < len(ran) < 12, "two forwards for each of six steps, some of them without the last block"
    assert np.array_equal(first, drawn(engine, long))


def test_weights_in_a_byte_each_still_draw(models: Path, plan: Plan) -> None:
    engine = load(models, quantisation="float8_storage")
    assert engine.facts["quantisation"] == "float8_storage"
    assert not np.array_equal(drawn(engine, plan), drawn(load(models), plan)), "lossy, so it is said"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wan_of_images", {"quantisation": "float8_storage", "attention": ["native"], "cache": "first_block"}),
        ("cogvideox_of_images", {"quantisation": "float8_storage", "attention": ["native"]}),  # has a single block
    ],
)
def test_options_are_tried_on_models_that_take_a_first_picture_alone(
    models: Path, plan: Plan, name: str, options: dict[str, Any]
) -> None:
    engine = load(models, name, **options)
    assert "left_out" not in engine.facts
    assert set(options) <= set(engine.facts)
    assert len(drawn(engine, plan, Conditions(first_frame_HWC=picture(1)))) == 10


def test_tiles_are_decoded_as_a_whole_clip(models: Path, plan: Plan) -> None:
    engine = load(models, tiling=True)
    assert engine.facts["tiling"] is True
    assert drawn(engine, plan).shape == (10, 32, 48, 3)


def test_a_clip_longer_than_a_window_goes_on_from_its_last_frame(models: Path, plan: Plan) -> None:
    engine = load(models, "wan_of_images", window=5)
    conditions = Conditions(first_frame_HWC=picture(1))
    assert [(part.begin, part.frames) for part in cut(plan, conditions, 5)] == [(0, 5), (5, 4), (9, 1)]
    frames_THWC = drawn(engine, plan, conditions)
    assert frames_THWC.shape == (10, 32, 48, 3)
    short = replace(plan, rendered_fps=5, seed=plan.seed + 1)
    following = drawn(engine, short, Conditions(first_frame_HWC=frames_THWC[4]))
    assert np.array_equal(frames_THWC[5:9], following[1:])


@pytest.mark.parametrize("frames", [6, 9])
def test_a_last_frame_is_shown_even_by_a_window_of_one_frame(models: Path, plan: Plan, frames: int) -> None:
    """Windows of five new frames, then four: of six frames, the second window shows one, and of nine all."""
    engine = load(models, "wan_of_two_images", window=5)
    clip = replace(plan, rendered_fps=frames)
    both = Conditions(first_frame_HWC=picture(1), last_frame_HWC=picture(2))
    frames_THWC = drawn(engine, clip, both)
    assert frames_THWC.shape == (frames, 32, 48, 3)
    second = replace(plan, rendered_fps=5, seed=plan.seed + 1)
    following = drawn(engine, second, replace(both, first_frame_HWC=frames_THWC[4]))
    assert np.array_equal(frames_THWC[-1], following[-1])


def test_all_pipelines_of_a_model_share_its_weights(models: Path) -> None:
    loaded = load(models, "ltx")._loaded
    assert len({id(pipeline) for pipeline in loaded.pipelines.values()}) == 3
    assert {id(pipeline.transformer) for pipeline in loaded.pipelines.values()} == {id(loaded.base.transformer)}
