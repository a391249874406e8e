"""Wan 2.2 5B, CogVideoX from pictures, and a family of no table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from domain.video import Operation, Plan, Size
from engines.diffusers import promises
from engines.diffusers.engine import DiffusersEngine
from engines.diffusers.families import Grid, Outline, Task
from engines.diffusers.streaming import pixels, streamer
from engines.footage import Footage
from engines.protocol import Conditions, Interrupted, OnStep, Step, Unrenderable

from .conftest import SIZE, picture

# The library's own, of a network that it runs in single precision.
pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")

EngineOf = Callable[[str], DiffusersEngine]
FIRST = Conditions(first_frame_HWC=picture(1))
TASKS = [("wan_of_both", Conditions()), ("wan_of_both", FIRST), ("cogvideox_of_images", FIRST), ("mochi", Conditions())]
ANY = {"fps", "loras", "negative_prompt", "shots", "style"}
ABLE = {
    "wan_of_both": ({"text", "first_frame", "extend"}, Grid(32, 4)),
    "cogvideox_of_images": ({"first_frame", "extend"}, Grid(16, 4)),
    "mochi": ({"text"}, Grid(16, 6)),
}


def quiet(_: Step) -> None:
    pass


def drawn(engine: DiffusersEngine, plan: Plan, conditions: Conditions, on_step: OnStep = quiet) -> NDArray[np.uint8]:
    return np.concatenate(list(engine.render(plan, conditions, on_step)))


@pytest.mark.parametrize("name", sorted(ABLE))
def test_what_a_model_can_do_follows_from_its_pipelines(engine_of: EngineOf, name: str) -> None:
    loaded = engine_of(name)._loaded
    able, grid = ABLE[name]
    assert promises.capabilities(Outline.of(loaded.base)) == able | ANY
    assert loaded.grid == grid


@pytest.mark.parametrize(("name", "conditions"), TASKS)
def test_a_task_gives_exactly_the_plans_frames_and_the_same_ones_again(
    engine_of: EngineOf, plan: Plan, name: str, conditions: Conditions
) -> None:
    steps: list[Step] = []
    frames_THWC = drawn(engine_of(name), plan, conditions, steps.append)
    assert (frames_THWC.shape, frames_THWC.dtype) == ((10, 32, 48, 3), np.uint8)
    assert np.array_equal(frames_THWC, drawn(engine_of(name), plan, conditions))
    assert not np.array_equal(frames_THWC, drawn(engine_of(name), replace(plan, seed=8), conditions))
    for phase, total in (("denoise", 2), ("decode", 10)):
        told = [step for step in steps if step.phase == phase]
        assert {step.total for step in told} == {total}
        assert all(one.done <= two.done for one, two in pairwise(told))
    assert steps[-1] == Step("decode", 10, 10)


@pytest.mark.parametrize("name", ["wan_of_both", "cogvideox_of_images"])
def test_the_picture_matters(engine_of: EngineOf, plan: Plan, name: str) -> None:
    engine, other = engine_of(name), Conditions(first_frame_HWC=picture(4))
    assert not np.array_equal(drawn(engine, plan, FIRST), drawn(engine, plan, other))


def test_the_first_frame_of_wan_5b_is_the_picture_whatever_is_drawn_after_it(engine_of: EngineOf, plan: Plan) -> None:
    """Its latents are put in place of what was drawn, and a causal decoder knows nothing else at that frame."""
    one, two = (drawn(engine_of("wan_of_both"), replace(plan, seed=seed), FIRST) for seed in (7, 8))
    assert np.array_equal(one[0], two[0])
    assert not np.array_equal(one[1:], two[1:])


def test_wan_5b_is_told_the_time_of_each_token(engine_of: EngineOf, plan: Plan) -> None:
    """A picture's tokens are clean, so theirs is 0."""
    base: Any = engine_of("wan_of_both")._loaded.base
    seen: list[torch.Tensor] = []

    def look(_network: object, _inputs: object, named: dict[str, Any]) -> None:
        seen.append(named["timestep"])

    handle = base.transformer.register_forward_pre_hook(look, with_kwargs=True)
    try:
        drawn(engine_of("wan_of_both"), plan, FIRST)
    finally:
        handle.remove()
    times_BN = seen[0]
    of_a_frame = times_BN.shape[1] // 4  # of 13 frames, 4 latent ones
    assert times_BN.shape[1] == 4 * of_a_frame
    assert not times_BN[:, :of_a_frame].any()
    assert times_BN[:, of_a_frame:].all()


@pytest.mark.parametrize("name", ["wan_of_both", "cogvideox_of_images"])
def test_an_extension_goes_on_from_its_sources_last_frame(
    engine_of: EngineOf, plan: Plan, clips: tuple[Footage, Footage], name: str
) -> None:
    extension = replace(plan, operation=Operation.EXTEND, source_clip="clip", source_seconds=1)
    frames_THWC = drawn(engine_of(name), extension, Conditions(source=clips[0]))
    opening = Conditions(first_frame_HWC=clips[0].last(SIZE))
    assert np.array_equal(frames_THWC, drawn(engine_of(name), replace(plan, rendered_fps=11), opening)[1:])


def test_cogvideox_of_pictures_says_that_it_needs_one(engine_of: EngineOf, plan: Plan) -> None:
    with pytest.raises(Unrenderable, match="needs input_reference"):
        drawn(engine_of("cogvideox_of_images"), plan, Conditions())


def test_streamed_frames_of_an_autoencoder_that_folds_pixels_are_those_of_a_whole_decode(engine_of: EngineOf) -> None:
    autoencoder: Any = engine_of("wan_of_both")._loaded.base.vae
    latents_BZLhw = torch.randn((1, 16, 3, 2, 3), generator=torch.Generator().manual_seed(1))
    stream = streamer(autoencoder)
    assert stream is not None
    pieces = list(stream(autoencoder, latents_BZLhw))
    assert [tuple(piece.shape[2:]) for piece in pieces] == [(1, 32, 48), (4, 32, 48), (4, 32, 48)]
    with torch.no_grad():
        assert torch.equal(torch.cat(pieces, dim=2), autoencoder.decode(latents_BZLhw).sample)


@pytest.mark.parametrize(("name", "frames"), [("wan_of_both", 9), ("mochi", 7)])
def test_the_engine_draws_what_the_library_alone_would(engine_of: EngineOf, plan: Plan, name: str, frames: int) -> None:
    engine = engine_of(name)
    pipeline = engine._loaded.pipelines[Task.TEXT]
    plain = pipeline(
        prompt=plan.prompt, width=64, height=32, num_frames=frames, num_inference_steps=2, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7), output_type="pt",
    ).frames[0]  # fmt: skip
    expected = pixels(plain.permute(1, 0, 2, 3)[None] * 2 - 1)
    square = replace(plan, rendered=Size(64, 32), rendered_fps=frames)
    assert np.abs(drawn(engine, square, Conditions()).astype(int) - expected).max() <= 1, "rounding at most"


@pytest.mark.parametrize(("name", "conditions"), TASKS)
@pytest.mark.parametrize("phase", ["denoise", "decode"])
def test_a_render_that_is_stopped_leaves_an_engine_that_draws_as_before(
    engine_of: EngineOf, plan: Plan, name: str, conditions: Conditions, phase: str
) -> None:
    engine = engine_of(name)
    expected = drawn(engine, plan, conditions)

    def stop(step: Step) -> None:
        if step.phase == phase and (phase == "decode" or step.done == 1):
            raise Interrupted

    with pytest.raises(Interrupted):
        drawn(engine, plan, conditions, stop)
    assert np.array_equal(drawn(engine, plan, conditions), expected)
