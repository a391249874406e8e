from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from domain.video import Operation, Plan, Shot, Size
from engines.diffusers.call import strength_of
from engines.diffusers.engine import DiffusersEngine
from engines.diffusers.families import Task
from engines.diffusers.parts import cut
from engines.diffusers.streaming import pixels, streamer
from engines.footage import Footage
from engines.protocol import Conditions, OnStep, Step, Unrenderable

from .conftest import SIZE, picture

EngineOf = Callable[[str], DiffusersEngine]
TEXT = Conditions()
FIRST = Conditions(first_frame_HWC=picture(1))
BOTH = Conditions(first_frame_HWC=picture(1), last_frame_HWC=picture(2))
PLACED = replace(BOTH, keyframes=((0.5, picture(3)),))
OTHER = {"first": replace(BOTH, first_frame_HWC=picture(4)), "last": replace(BOTH, last_frame_HWC=picture(4))}
TASKS = [
    ("wan", Conditions()),
    ("wan_of_images", FIRST),
    ("wan_of_two_images", FIRST),
    ("wan_of_two_images", BOTH),
    ("ltx", Conditions()),
    ("ltx", FIRST),
    ("ltx", PLACED),
    ("cogvideox", Conditions()),
]


def quiet(_: Step) -> None:
    pass


def drawn(engine: DiffusersEngine, plan: Plan, conditions: Conditions, on_step: OnStep = quiet) -> NDArray[np.uint8]:
    chunks = list(engine.render(plan, conditions, on_step))
    return np.concatenate(chunks)


@pytest.mark.parametrize(("name", "conditions"), TASKS)
def test_a_task_gives_exactly_the_plans_frames_and_the_same_ones_again(
    engine_of: EngineOf, plan: Plan, name: str, conditions: Conditions
) -> None:
    frames_THWC = drawn(engine_of(name), plan, conditions)
    assert (frames_THWC.shape, frames_THWC.dtype) == ((10, 32, 48, 3), np.uint8)
    assert np.array_equal(frames_THWC, drawn(engine_of(name), plan, conditions))
    assert not np.array_equal(frames_THWC, drawn(engine_of(name), replace(plan, seed=8), conditions))


@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_an_edit_is_drawn_from_its_source(
    engine_of: EngineOf, plan: Plan, clips: tuple[Footage, Footage], name: str
) -> None:
    edit = replace(plan, operation=Operation.EDIT, source_clip="clip", source_seconds=1, strength=0.5, steps=4)
    one, same, other = (drawn(engine_of(name), edit, Conditions(source=clips[at])) for at in (0, 0, 1))
    assert one.shape == (10, 32, 48, 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    steps: list[Step] = []
    drawn(engine_of(name), edit, Conditions(source=clips[0]), steps.append)
    assert {step.total for step in steps if step.phase == "denoise"} == {2}, "half the strength is half the way"


@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_an_edit_at_no_strength_takes_one_step_of_any_number(
    engine_of: EngineOf, plan: Plan, clips: tuple[Footage, Footage], name: str
) -> None:
    edit = replace(plan, operation=Operation.EDIT, source_clip="clip", source_seconds=1, strength=0.0)
    for steps in (1, 49, 103):
        told: list[Step] = []
        frames_THWC = drawn(engine_of(name), replace(edit, steps=steps), Conditions(source=clips[0]), told.append)
        assert frames_THWC.shape == (10, 32, 48, 3)
        assert {step.total for step in told if step.phase == "denoise"} == {1}


def test_an_edit_has_a_step_left_whatever_its_number_of_steps(plan: Plan) -> None:
    for steps in range(1, 1001):
        strength = strength_of(replace(plan, steps=steps, strength=0.0))
        assert strength <= 1, "which is as far as the library goes"
        assert int(steps * strength) == 1


def test_what_a_mask_keeps_is_the_source_to_the_bit(
    engine_of: EngineOf, plan: Plan, clips: tuple[Footage, Footage]
) -> None:
    edit = replace(plan, operation=Operation.EDIT, source_clip="clip", source_seconds=1, strength=0.5)
    mask_HW = np.zeros((32, 48), np.uint8)
    mask_HW[:, 24:] = 255
    masked = drawn(engine_of("wan"), edit, Conditions(source=clips[0], mask_HW=mask_HW))
    whole = drawn(engine_of("wan"), edit, Conditions(source=clips[0]))
    source = np.concatenate(list(clips[0].frames(SIZE, 10, 10)))
    assert np.array_equal(masked[:, :, :24], source[:, :, :24])
    assert np.array_equal(masked[:, :, 24:], whole[:, :, 24:])


@pytest.mark.parametrize("name", ["wan_of_two_images", "ltx"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_both_ends_matter(engine_of: EngineOf, plan: Plan, name: str, which: str) -> None:
    assert not np.array_equal(drawn(engine_of(name), plan, BOTH), drawn(engine_of(name), plan, OTHER[which]))


def test_a_model_of_pictures_says_that_it_needs_one(engine_of: EngineOf, plan: Plan) -> None:
    with pytest.raises(Unrenderable, match="needs input_reference"):
        drawn(engine_of("wan_of_images"), plan, Conditions())


def test_an_extension_goes_on_from_its_sources_last_frame(
    engine_of: EngineOf, plan: Plan, clips: tuple[Footage, Footage]
) -> None:
    extension = replace(plan, operation=Operation.EXTEND, source_clip="clip", source_seconds=1)
    engine = engine_of("wan_of_images")
    frames_THWC = drawn(engine, extension, Conditions(source=clips[0]))
    opened = drawn(engine, replace(plan, rendered_fps=11), Conditions(first_frame_HWC=clips[0].last(SIZE)))
    assert np.array_equal(frames_THWC, opened[1:]), "the source's own last frame is not shown twice"


def test_each_shot_has_its_own_prompt_and_picture(engine_of: EngineOf, plan: Plan) -> None:
    shots = (Shot("a ball", 1), Shot("a lake", 1, reference="key"))
    two = replace(plan, seconds=2, shots=shots)
    engine = engine_of("ltx")
    frames_THWC = drawn(engine, two, Conditions(references=(None, picture(5))))
    assert len(frames_THWC) == 20
    said = replace(plan, prompt=f"a lake, {plan.prompt}", seed=plan.seed + 1)
    alone = drawn(engine, said, Conditions(first_frame_HWC=picture(5)))
    assert np.array_equal(frames_THWC[10:], alone)


def test_what_all_shots_have_in_common_is_in_each(engine_of: EngineOf, plan: Plan) -> None:
    shots = (Shot("a ball", 1), Shot("a lake", 1))
    told = [part.prompt for part in cut(replace(plan, prompt="at dusk", seconds=2, shots=shots, style="noir"), TEXT, 0)]
    assert told == ["a ball, at dusk, noir", "a lake, at dusk, noir"]
    one, two = (
        drawn(engine_of("wan"), replace(plan, prompt=common, seconds=2, shots=shots), TEXT)
        for common in ("at dusk", "at noon")
    )
    assert not np.array_equal(one[:10], two[:10])
    assert not np.array_equal(one[10:], two[10:])


def test_a_style_changes_the_words(engine_of: EngineOf, plan: Plan) -> None:
    noir = drawn(engine_of("wan"), replace(plan, style="film noir"), Conditions())
    said = drawn(engine_of("wan"), replace(plan, prompt=f"{plan.prompt}, film noir"), Conditions())
    assert np.array_equal(noir, said)


def test_progress_goes_up_and_ends_complete(engine_of: EngineOf, plan: Plan) -> None:
    for name, conditions in TASKS:
        steps: list[Step] = []
        drawn(engine_of(name), plan, conditions, steps.append)
        assert {step.phase for step in steps} == {"wait", "denoise", "decode"}
        for phase, total in (("denoise", 2), ("decode", 10)):
            told = [step for step in steps if step.phase == phase]
            assert {step.total for step in told} == {total}
            assert all(one.done <= two.done for one, two in pairwise(told))
        assert steps[-1] == Step("decode", 10, 10)


def risen(steps: list[Step]) -> list[Step]:
    """Those that a worker takes for progress: the same again of a phase is none."""
    last: dict[str, Step] = {}
    found: list[Step] = []
    for step in steps:
        if last.get(step.phase) != step:
            found.append(step)
        last[step.phase] = step
    return found


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])
def test_work_that_goes_on_never_looks_like_standing_still(engine_of: EngineOf, plan: Plan, name: str) -> None:
    """Each layer of a long step, and of a decode that gives all frames at its end, shows that something happens."""
    engine = engine_of(name)
    base: Any = engine._loaded.base
    steps: list[Step] = []
    seen: list[int] = []
    layers = [*next(each for each in base.transformer.children() if isinstance(each, torch.nn.ModuleList))]
    handles = [
        layer.register_forward_hook(lambda *_: seen.append(len(risen(steps))))
        for layer in (*layers, *base.vae.decoder.up_blocks)
    ]
    try:
        drawn(engine, plan, Conditions(), steps.append)
    finally:
        for handle in handles:
            handle.remove()
    assert len(seen) > 5
    assert all(one < two for one, two in pairwise(seen))
    signs = [step.done for step in steps if step.phase == "wait"]
    assert signs == list(range(1, len(signs) + 1))
    assert all(two.phase != "wait" for one, two in pairwise(steps) if one.phase == "wait"), "the real step comes after"


@pytest.mark.parametrize(("name", "frames"), [("wan", [1, 4, 4]), ("cogvideox", [9, 8])])
def test_streamed_frames_are_those_of_a_whole_decode(engine_of: EngineOf, name: str, frames: list[int]) -> None:
    autoencoder: Any = engine_of(name)._loaded.base.vae
    channels = 16 if name == "wan" else 4
    latents = 1 + (sum(frames) - 1) // 4
    latents_BZLhw = torch.randn((1, channels, latents, 4, 6), generator=torch.Generator().manual_seed(1))
    stream = streamer(autoencoder)
    assert stream is not None
    pieces = list(stream(autoencoder, latents_BZLhw))
    assert [piece.shape[2] for piece in pieces] == frames
    with torch.no_grad():
        whole = autoencoder.decode(latents_BZLhw).sample
    assert torch.equal(torch.cat(pieces, dim=2), whole)


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])
def test_the_engine_draws_what_the_library_alone_would(engine_of: EngineOf, plan: Plan, name: str) -> None:
    engine = engine_of(name)
    square = replace(plan, rendered=Size(64, 32), rendered_fps=9)
    pipeline = engine._loaded.pipelines[Task.TEXT]
    plain = pipeline(
        prompt=plan.prompt, width=64, height=32, num_frames=9, num_inference_steps=2, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7), output_type="pt", **({"frame_rate": 9} if name == "ltx" else {}),
    ).frames[0]  # fmt: skip
    expected = pixels(plain.permute(1, 0, 2, 3)[None] * 2 - 1)
    difference = np.abs(drawn(engine, square, Conditions()).astype(int) - expected)
    assert difference.max() <= 1, "the last digit of rounding at most"


@pytest.mark.parametrize(("name", "shown"), [("wan", 4), ("cogvideox", 9)])
def test_frames_that_were_handed_over_are_not_kept(engine_of: EngineOf, plan: Plan, name: str, shown: int) -> None:
    """So memory does not grow with the length of a clip: only latents, a 256th of it, are there as a whole."""
    engine = engine_of(name)
    decoded: list[weakref.ref[torch.Tensor]] = []
    handed: list[weakref.ref[NDArray[np.uint8]]] = []

    def keep(_network: object, _inputs: object, output: Any) -> None:
        decoded.append(weakref.ref(output[0] if isinstance(output, tuple) else output))

    handle = engine._loaded.base.vae.decoder.register_forward_hook(keep)
    try:
        for chunk_THWC in engine.render(replace(plan, seconds=4, steps=1), Conditions(), quiet):
            handed.append(weakref.ref(chunk_THWC))
            assert len(chunk_THWC) <= shown
            assert sum(each() is not None for each in decoded) <= 1
            assert sum(each() is not None for each in handed) <= 2
    finally:
        handle.remove()
    assert len(handed) == len(decoded) >= 5


def test_a_size_between_the_grid_is_cut_from_a_larger_picture(engine_of: EngineOf, plan: Plan) -> None:
    odd = drawn(engine_of("wan"), replace(plan, rendered=Size(40, 24)), Conditions())
    even = drawn(engine_of("wan"), replace(plan, rendered=Size(48, 32)), Conditions())
    assert np.array_equal(odd, even[:, 4:28, 4:44])
