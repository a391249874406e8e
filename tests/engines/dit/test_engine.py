"""The embedded model keeps the promises of the engine seam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from domain.video import Plan, Size
from engines.dit.engine import DitEngine, fit, window_lengths, working_size
from engines.protocol import Conditions, Interrupted, Step


def render(engine: DitEngine, plan: Plan, picture: np.ndarray | None = None) -> tuple[list[np.ndarray], list[Step]]:
    steps: list[Step] = []
    return list(engine.render(plan, Conditions(picture), steps.append)), steps


def test_frames_come_in_chunks_of_four_after_the_first_and_the_surplus_is_cut(engine: DitEngine, plan: Plan) -> None:
    chunks, _ = render(engine, plan)
    assert [len(chunk) for chunk in chunks] == [1, 4, 1]
    assert all(chunk.shape[1:] == (48, 64, 3) and chunk.dtype == np.uint8 for chunk in chunks)


def test_steps_are_reported_before_each_forward_and_after_each_chunk(engine: DitEngine, plan: Plan) -> None:
    _, steps = render(engine, plan)
    assert steps == [
        Step("denoise", 0, 2),
        Step("denoise", 1, 2),
        Step("decode", 1, 6),
        Step("decode", 5, 6),
        Step("decode", 6, 6),
    ]


def test_the_same_plan_gives_the_same_bytes(engine: DitEngine, plan: Plan) -> None:
    first, again = render(engine, plan)[0], render(engine, plan)[0]
    assert np.concatenate(first).tobytes() == np.concatenate(again).tobytes()


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"prompt": "a blue ball rolls right"}, {"guidance": 5.0}, {"steps": 3}]
)
def test_another_plan_gives_another_clip(engine: DitEngine, plan: Plan, change: dict[str, object]) -> None:
    first, other = render(engine, plan)[0], render(engine, replace(plan, **change))[0]
    assert np.concatenate(first).tobytes() != np.concatenate(other).tobytes()


@pytest.mark.parametrize("seconds", [4, 8, 12])
def test_long_clips_have_every_frame_and_count_every_window(engine: DitEngine, plan: Plan, seconds: int) -> None:
    chunks, steps = render(engine, replace(plan, seconds=seconds, rendered=Size(32, 32), steps=1))
    assert sum(map(len, chunks)) == seconds * 6
    assert [step.done for step in steps if step.phase == "denoise"] == list(range(seconds // 4))
    assert steps[-1] == Step("decode", seconds * 6, seconds * 6)


def test_windows_overlap_by_one_latent_frame() -> None:
    assert window_lengths(7, 7) == [7]
    assert window_lengths(13, 7) == [7, 7]
    assert window_lengths(19, 7) == [7, 7, 7]
    assert window_lengths(15, 7) == [7, 7, 3]
    assert window_lengths(1, 7) == [1]


def test_a_long_clip_starts_to_arrive_before_its_last_window_is_denoised(engine: DitEngine, plan: Plan) -> None:
    phases = [step.phase for step in render(engine, replace(plan, seconds=8, rendered=Size(32, 32), steps=1))[1]]
    assert phases.index("decode") < len(phases) - 1 - phases[::-1].index("denoise")


@pytest.mark.parametrize("size", [Size(256, 144), Size(144, 256), Size(80, 112), Size(16, 16)])
def test_any_size_that_is_a_multiple_of_16_is_drawn(engine: DitEngine, plan: Plan, size: Size) -> None:
    chunks, _ = render(engine, replace(plan, rendered=size, steps=1))
    assert np.concatenate(chunks).shape == (6, size.height, size.width, 3)


def test_a_large_plan_is_drawn_at_the_trained_size_in_its_shape() -> None:
    assert working_size(Size(256, 144), 80) == Size(144, 80)
    assert working_size(Size(144, 256), 80) == Size(80, 144)
    assert working_size(Size(224, 128), 80) == Size(144, 80)
    assert working_size(Size(96, 64), 80) == Size(96, 64)
    assert working_size(Size(1024, 16), 80) == Size(1024, 16)


def test_another_size_is_refused(engine: DitEngine, plan: Plan) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        render(engine, replace(plan, rendered=Size(100, 48)))


def test_the_first_frame_comes_back_as_the_codec_restores_it(engine: DitEngine, plan: Plan) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (300, 200, 3), dtype=np.uint8)
    with torch.no_grad():
        codec = engine._networks.codec
        restored = codec.decode(codec.encode(fit(picture, plan.rendered)[None, None]))[0, 0].permute(1, 2, 0)
    first = render(engine, plan, picture)[0][0][0]
    assert np.abs(first / 255 - restored.numpy()).mean() < 0.02


def test_a_picture_of_any_shape_is_cut_in_the_middle_and_scaled() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255
    assert fit(picture, Size(64, 64)).shape == (3, 64, 64)
    assert fit(picture, Size(64, 64)).min() > 0.95


@pytest.mark.parametrize("stop_at", [Step("denoise", 1, 2), Step("decode", 1, 6)])
def test_an_interrupted_render_leaves_the_engine_as_it_was(engine: DitEngine, plan: Plan, stop_at: Step) -> None:
    before = np.concatenate(render(engine, plan)[0]).tobytes()

    def stop(step: Step) -> None:
        if step == stop_at:
            raise Interrupted

    with pytest.raises(Interrupted):
        list(engine.render(plan, Conditions(), stop))
    assert np.concatenate(render(engine, plan)[0]).tobytes() == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("prompt", ["", "zxqv 漢字 🙂", "word " * 6000, "\x00 -- !!"])
def test_no_prompt_can_break_a_render(engine: DitEngine, plan: Plan, prompt: str) -> None:
    assert np.concatenate(render(engine, replace(plan, prompt=prompt, steps=1))[0]).shape[0] == 6


def test_the_number_of_threads_is_left_alone(engine: DitEngine, plan: Plan) -> None:
    torch.set_num_threads(2)
    render(engine, replace(plan, steps=1))
    assert torch.get_num_threads() == 2
