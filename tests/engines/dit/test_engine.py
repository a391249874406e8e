"""The embedded model keeps the promises of the engine seam."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from domain.video import Lora, Plan, Shot, Size
from engines.dit import lora
from engines.dit.checkpoint import Checkpoint, fresh, student
from engines.dit.engine import LONG, DitEngine, working_size
from engines.protocol import Conditions, Interrupted, Step, Unrenderable
from tests.engines.dit.rendering import clip_of, render


def test_every_frame_comes_once_and_the_surplus_is_cut(engine: DitEngine, plan: Plan) -> None:
    chunks, _ = render(engine, plan)
    assert [len(chunk) for chunk in chunks] == [4, 2]
    assert all(chunk.shape[1:] == (48, 64, 3) and chunk.dtype == np.uint8 for chunk in chunks)


def test_steps_are_reported_before_each_forward_before_each_decode_and_after_each_chunk(
    engine: DitEngine, plan: Plan
) -> None:
    _, steps = render(engine, plan)
    assert steps == [
        Step("denoise", 0, 2),
        Step("denoise", 1, 2),
        Step("decode", 0, 6),
        Step("decode", 0, 6),
        Step("decode", 4, 6),
        Step("decode", 4, 6),
        Step("decode", 6, 6),
    ]


@pytest.mark.parametrize("long", LONG)
def test_the_same_plan_gives_the_same_bytes(networks: Checkpoint, plan: Plan, long: str) -> None:
    engine, longer = DitEngine(networks, long=long), replace(plan, seconds=9, rendered=Size(32, 32), rendered_fps=12)
    assert clip_of(engine, longer).tobytes() == clip_of(engine, longer).tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"prompt": "a blue ball rolls right"},
        {"guidance": 5.0},
        {"negative_prompt": "a lake"},
        {"steps": 3},
        {"motion_intensity": 0.9},
        {"style": "noir"},
    ],
)
def test_another_plan_gives_another_clip(engine: DitEngine, plan: Plan, change: dict[str, object]) -> None:
    assert clip_of(engine, plan).tobytes() != clip_of(engine, replace(plan, **change)).tobytes()


@pytest.mark.parametrize("motions", [(0.1, 0.9)])
def test_how_much_moves_changes_the_clip(engine: DitEngine, plan: Plan, motions: tuple[float, float]) -> None:
    less, more = (clip_of(engine, replace(plan, motion_intensity=motion)) for motion in motions)
    assert less.tobytes() != more.tobytes()


def test_the_rate_is_told_to_the_model(engine: DitEngine, plan: Plan) -> None:
    slow, fast = (clip_of(engine, replace(plan, rendered_fps=fps)) for fps in (6, 12))
    assert (len(slow), len(fast)) == (6, 12)
    assert slow[:5].tobytes() != fast[:5].tobytes()


@pytest.mark.parametrize("long", LONG)
@pytest.mark.parametrize(("seconds", "fps"), [(4, 6), (4, 12), (8, 12), (13, 6), (60, 12)])
def test_long_clips_have_every_frame_and_count_every_forward(
    networks: Checkpoint, plan: Plan, long: str, seconds: int, fps: int
) -> None:
    asked = replace(plan, seconds=seconds, rendered=Size(16, 16), rendered_fps=fps, steps=1)
    chunks, steps = render(DitEngine(networks, long=long), asked)
    assert sum(map(len, chunks)) == seconds * fps
    denoised = [step for step in steps if step.phase == "denoise"]
    assert [step.done for step in denoised] == list(range(denoised[0].total))
    assert {step.total for step in denoised} == {len(denoised)}
    assert steps[-1] == Step("decode", seconds * fps, seconds * fps)


@pytest.mark.parametrize("long", LONG)
def test_a_long_clip_starts_to_arrive_before_its_last_window_is_denoised(
    networks: Checkpoint, plan: Plan, long: str
) -> None:
    asked = replace(plan, seconds=12, rendered=Size(32, 32), rendered_fps=12, steps=1)
    phases = [step.phase for step in render(DitEngine(networks, long=long), asked)[1]]
    assert phases.index("decode") < len(phases) - 1 - phases[::-1].index("denoise")


@pytest.mark.parametrize("long", LONG)
def test_memory_does_not_grow_with_the_length(networks: Checkpoint, plan: Plan, long: str) -> None:
    engine, peaks = DitEngine(networks, long=long), []
    for seconds in (12, 48):
        asked = replace(plan, seconds=seconds, rendered=Size(64, 64), rendered_fps=12, steps=1)
        tracemalloc.start()  # frames; latents are a hundredth of them
        for _ in engine.render(asked, Conditions(), lambda _: None):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("size", [Size(256, 144), Size(144, 256), Size(80, 112), Size(16, 16), Size(192, 192)])
def test_any_size_that_is_a_multiple_of_16_is_drawn(engine: DitEngine, plan: Plan, size: Size) -> None:
    assert clip_of(engine, replace(plan, rendered=size, steps=1)).shape == (6, size.height, size.width, 3)


def test_a_large_plan_is_drawn_at_the_trained_size_in_its_shape() -> None:
    assert working_size(Size(256, 144), 80) == Size(144, 80)
    assert working_size(Size(144, 256), 80) == Size(80, 144)
    assert working_size(Size(224, 128), 80) == Size(144, 80)
    assert working_size(Size(96, 64), 80) == Size(96, 64)
    assert working_size(Size(1024, 16), 80) == Size(1024, 16)
    assert working_size(Size(192, 192), 144) == Size(144, 144)


def test_what_was_drawn_is_told(engine: DitEngine, plan: Plan) -> None:
    render(engine, replace(plan, rendered=Size(192, 192), steps=1))
    assert engine.facts == {"long": "stream", "drawn": "144x144", "windows": 1, "forwards": 1}


def test_another_size_is_refused(engine: DitEngine, plan: Plan) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        render(engine, replace(plan, rendered=Size(100, 48)))


def test_an_option_that_does_not_exist_is_refused(networks: Checkpoint) -> None:
    with pytest.raises(ValueError, match="long is one of stream, anchors, not 'x'"):
        DitEngine(networks, long="x")
    with pytest.raises(ValueError, match="no such option of the embedded model: tiling"):
        DitEngine.load(tiling=True)


@pytest.mark.parametrize("stop_at", [Step("denoise", 1, 2), Step("decode", 0, 6), Step("decode", 4, 6)])
def test_an_interrupted_render_leaves_the_engine_as_it_was(networks: Checkpoint, plan: Plan, stop_at: Step) -> None:
    engine = DitEngine(networks, {"look": adapter(networks)})
    bent = replace(plan, loras=(Lora("look"),))
    before = clip_of(engine, plan).tobytes(), clip_of(engine, bent).tobytes()

    def stop(step: Step) -> None:
        if step == stop_at:
            raise Interrupted

    with pytest.raises(Interrupted):
        list(engine.render(bent, Conditions(), stop))
    assert (clip_of(engine, plan).tobytes(), clip_of(engine, bent).tobytes()) == before
    assert torch.is_grad_enabled()


def test_a_render_that_nobody_reads_to_its_end_leaves_the_engine_as_it_was(engine: DitEngine, plan: Plan) -> None:
    before = clip_of(engine, plan).tobytes()
    half = engine.render(plan, Conditions(), lambda _: None)
    next(half)
    half.close()
    assert clip_of(engine, plan).tobytes() == before


def adapter(networks: Checkpoint) -> lora.Adapter:
    generator = torch.Generator().manual_seed(3)
    pairs = {
        name: (
            torch.randn(2, layer.in_features, generator=generator),
            torch.randn(layer.out_features, 2, generator=generator),
        )
        for name, layer in lora.layers(networks.transformer).items()
    }
    return lora.Adapter(pairs, alpha=1.0, config=networks.config, base="", trigger="", card={})


def test_adapters_bend_the_clip_by_their_weight(networks: Checkpoint, plan: Plan) -> None:
    engine = DitEngine(networks, {"look": adapter(networks)})
    plain, none, full = (
        clip_of(engine, replace(plan, loras=loras)).tobytes() for loras in ((), (Lora("look", 0.0),), (Lora("look"),))
    )
    assert plain == none != full


@pytest.mark.parametrize("prompt", ["", "zxqv 漢字 🙂", "word " * 6000, "\x00 -- !!", "cut to", "shot 1: shot 2:"])
def test_no_prompt_can_break_a_render(engine: DitEngine, plan: Plan, prompt: str) -> None:
    assert clip_of(engine, replace(plan, prompt=prompt, steps=1)).shape[0] == 6


def test_numbers_that_are_not_finite_are_no_clip(networks: Checkpoint, plan: Plan) -> None:
    broken = replace(networks, transformer=fresh(networks.config, list(networks.vocabulary.words)).transformer)
    broken.transformer.leave.bias.data[0] = torch.nan
    with pytest.raises(Unrenderable, match="not finite"):
        render(DitEngine(broken), plan)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 30.0])
def test_a_student_takes_any_guidance(networks: Checkpoint, plan: Plan, guidance: float) -> None:
    assert clip_of(DitEngine(student(networks)), replace(plan, guidance=guidance)).std() > 0


def test_shots_are_drawn_apart(engine: DitEngine, plan: Plan) -> None:
    def shown(*prompts: str) -> np.ndarray:
        shots = tuple(Shot(prompt, 1) for prompt in prompts)
        return clip_of(engine, replace(plan, seconds=2, shots=shots))

    lake, sea = shown("a lake", "a lake"), shown("a lake", "a red ball")
    assert len(lake) == 12
    assert lake[:6].tobytes() == sea[:6].tobytes()
    assert lake[6:].tobytes() != sea[6:].tobytes()
    assert lake[6:].tobytes() != lake[:6].tobytes(), "each shot has noise of its own"
    told = clip_of(engine, replace(plan, seconds=2, prompt="a lake, cut to a red ball"))
    assert len(told) == 12


def test_the_number_of_threads_is_left_alone(engine: DitEngine, plan: Plan) -> None:
    torch.set_num_threads(2)
    render(engine, replace(plan, steps=1))
    assert torch.get_num_threads() == 2
