"""Every task of a plan, on untrained networks: what is given is shown, what is kept is kept, and nothing jumps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from domain.video import Keyframe, Operation, Plan, Shot, Size
from engines.dit.checkpoint import Checkpoint
from engines.dit.drawing import Drawer
from engines.dit.engine import LONG, DitEngine
from engines.dit.pictures import video_of
from engines.dit.sources import TAIL, Under, tail
from engines.dit.windows import Stretch, spans
from engines.footage import Footage
from engines.protocol import Conditions, Interrupted, OnStep, Step
from tests.engines.dit.rendering import clip_of, decibels, footage, moving, render, steps_between

RNG = np.random.default_rng(5)


def picture() -> np.ndarray:
    """Nothing that any model has seen, at the clip's own size."""
    return RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def longer(plan: Plan) -> Plan:
    return replace(plan, seconds=9, rendered_fps=12, steps=1)


@pytest.fixture
def source(tmp_path: Path) -> Footage:
    return footage(tmp_path, moving(2, 12), 12)


@pytest.fixture
def edit(plan: Plan) -> Plan:
    return replace(
        plan, seconds=2, rendered_fps=12, operation=Operation.EDIT, source_clip="key", source_seconds=2.0, strength=0.5
    )


@pytest.fixture
def extension(plan: Plan) -> Plan:
    return replace(plan, seconds=4, rendered_fps=12, operation=Operation.EXTEND, source_clip="key", source_seconds=2.0)


def test_a_first_frame_is_shown_as_it_is_and_nothing_jumps_after_it(engine: DitEngine, longer: Plan) -> None:
    given = picture()
    clip = clip_of(engine, longer, Conditions(first_frame_HWC=given))
    assert np.array_equal(clip[0], given)
    assert steps_between(clip)[0] <= 1.5 * np.median(steps_between(clip))
    assert clip[1:].tobytes() != clip_of(engine, longer)[1:].tobytes(), "the model sees it too"


def test_a_first_frame_of_another_size_is_fitted(engine: DitEngine, plan: Plan) -> None:
    large = np.kron(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3), np.ones((4, 4, 1), np.uint8))
    assert decibels(clip_of(engine, plan, Conditions(large))[0], large[2::4, 2::4]) > 15


@pytest.mark.parametrize("long", LONG)
@pytest.mark.parametrize("seconds", [1, 9])
def test_pictures_anywhere_are_shown_as_they_are(networks: Checkpoint, longer: Plan, long: str, seconds: int) -> None:
    moments = (0.25, 0.5, 0.6, seconds - 0.25)
    pictures = [picture() for _ in moments]
    first, last = picture(), picture()
    plan = replace(longer, seconds=seconds, keyframes=tuple(Keyframe(moment, "key") for moment in moments))
    conditions = Conditions(first, last, tuple(zip(moments, pictures, strict=True)))
    clip = clip_of(DitEngine(networks, long=long), plan, conditions)
    assert len(clip) == 12 * seconds
    assert np.array_equal(clip[0], first)
    assert np.array_equal(clip[-1], last)
    for moment, given in zip(moments, pictures, strict=True):
        assert np.array_equal(clip[round(moment * 12)], given), moment


@pytest.mark.parametrize("long", LONG)
def test_windows_and_gaps_join_without_a_jump(networks: Checkpoint, longer: Plan, long: str) -> None:
    between = steps_between(clip_of(DitEngine(networks, long=long), replace(longer, seconds=12)))
    assert between.max() <= 3 * np.median(between), between.argmax()


def test_a_picture_changes_what_is_drawn_before_it(engine: DitEngine, longer: Plan) -> None:
    with_it = clip_of(engine, replace(longer, seconds=4), Conditions(last_frame_HWC=picture()))
    without = clip_of(engine, replace(longer, seconds=4))
    assert with_it[:30].tobytes() != without[:30].tobytes()


def test_a_shot_opens_with_its_reference_and_nothing_fades_over_the_cut(engine: DitEngine, longer: Plan) -> None:
    plan = replace(longer, seconds=2, shots=(Shot("a lake", 1), Shot("a red ball", 1, "key")))
    given = picture()
    clip = clip_of(engine, plan, Conditions(references=(None, given)))
    plain = clip_of(engine, plan)
    assert np.array_equal(clip[12], given)
    assert clip[:12].tobytes() == plain[:12].tobytes()


@pytest.mark.parametrize("strength", [0.0, 1e-20])
def test_an_edit_of_no_strength_is_its_source(engine: DitEngine, edit: Plan, source: Footage, strength: float) -> None:
    chunks, steps = render(engine, replace(edit, strength=strength), Conditions(source=source))
    whole = np.concatenate(list(source.frames(Size(64, 48), 12, 24)))
    assert np.array_equal(np.concatenate(chunks), whole)
    assert not [step for step in steps if step.phase == "denoise"]


def test_an_edit_begins_where_its_strength_says(engine: DitEngine, edit: Plan, source: Footage) -> None:
    forwards = [
        len(
            [
                step
                for step in render(engine, replace(edit, steps=8, strength=strength), Conditions(source=source))[1]
                if step.phase == "denoise"
            ]
        )
        for strength in (0.05, 0.5, 1.0)
    ]
    assert 1 <= forwards[0] < forwards[1] < forwards[2] == 8


@pytest.mark.parametrize("begin", [0.0, 0.1, 0.5, 1 - 0.9, 0.3, 0.97, 0.9999])
@pytest.mark.parametrize("steps", [1, 8, 32])
def test_no_two_times_of_a_denoiser_are_too_close(networks: Checkpoint, plan: Plan, begin: float, steps: int) -> None:
    drawer = Drawer(networks, networks.transformer, replace(plan, steps=steps), Size(64, 48), print, half=False)
    drawer.begin = begin
    times = drawer.times(7)
    assert (times[0], times[-1]) == (begin, 1)
    widths = np.diff(times)
    assert len(widths) >= max(1, round(steps * (1 - begin)))
    assert np.all(widths > 0)
    assert len(widths) == 1 or widths[0] >= widths[1] / 3


def test_an_edit_depends_on_its_source_and_a_remix_is_drawn_the_same_way(
    engine: DitEngine, edit: Plan, source: Footage, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = footage(tmp_path / "other", 255 - moving(2, 12), 12)
    first, second = (clip_of(engine, edit, Conditions(source=each)) for each in (source, other))
    assert first.tobytes() != second.tobytes()
    remix = replace(edit, operation=Operation.REMIX)
    assert clip_of(engine, remix, Conditions(source=source)).tobytes() == first.tobytes()


def test_a_long_edit_goes_window_by_window(engine: DitEngine, edit: Plan, tmp_path: Path) -> None:
    source = footage(tmp_path, moving(9, 12), 12)
    chunks, steps = render(engine, replace(edit, seconds=9, steps=1), Conditions(source=source))
    assert sum(map(len, chunks)) == 108
    windows = spans(Stretch(108), (), engine._networks.config.transformer.window)
    assert len([step for step in steps if step.phase == "denoise"]) == len(windows) > 1


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_what_a_mask_keeps_is_the_source_itself(
    engine: DitEngine, edit: Plan, source: Footage, strength: float
) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[16:40, 16:48] = 255
    clip = clip_of(engine, replace(edit, strength=strength), Conditions(source=source, mask_HW=mask))
    whole = np.concatenate(list(source.frames(Size(64, 48), 12, 24)))
    assert np.array_equal(clip[:, mask == 0], whole[:, mask == 0])
    assert decibels(clip[:, 20:36, 20:44], whole[:, 20:36, 20:44]) < 30
    unmasked = clip_of(engine, replace(edit, strength=strength), Conditions(source=source))
    assert clip[:, mask > 0].tobytes() != unmasked[:, mask > 0].tobytes(), "the model sees what is kept"


@torch.no_grad()
def test_a_source_is_encoded_window_by_window_as_if_at_once(networks: Checkpoint) -> None:
    frames = moving(4, 12)[:45]
    whole = networks.codec.encode(video_of(frames)[None])
    under = Under(iter(frames), Size(64, 48), lambda video_TCHW: networks.codec.encode(video_TCHW[None]))
    pieces = torch.cat([under.next(count) for count in (1, 1, 2, 5, 3)], dim=1)
    assert torch.allclose(pieces, whole, atol=1e-5)


@pytest.mark.parametrize("seconds", [4, 9])
def test_an_extension_goes_on_without_a_jump(engine: DitEngine, extension: Plan, source: Footage, seconds: int) -> None:
    clip = clip_of(engine, replace(extension, seconds=seconds), Conditions(source=source))
    assert len(clip) == 12 * seconds
    last = source.last(Size(64, 48))
    seam = steps_between(np.stack([last, clip[0]]))[0]
    assert seam <= 1.5 * np.median(steps_between(clip))


def test_an_extension_ends_with_its_last_frame_and_has_its_keyframes(
    engine: DitEngine, extension: Plan, source: Footage
) -> None:
    key, last = picture(), picture()
    conditions = Conditions(source=source, last_frame_HWC=last, keyframes=((1.0, key),))
    clip = clip_of(engine, replace(extension, keyframes=(Keyframe(1.0, "key"),)), conditions)
    assert np.array_equal(clip[12], key)
    assert np.array_equal(clip[-1], last)


def test_an_extension_depends_on_the_end_of_its_source(
    engine: DitEngine, extension: Plan, source: Footage, tmp_path: Path
) -> None:
    clip = clip_of(engine, extension, Conditions(source=source))
    (tmp_path / "other").mkdir()
    other = footage(tmp_path / "other", moving(2, 12)[::-1].copy(), 12)
    assert clip.tobytes() != clip_of(engine, extension, Conditions(source=other)).tobytes()


@pytest.mark.parametrize(("seconds", "fps"), [(2.0, 12), (2.0, 24), (0.25, 12), (1.9, 12)])
def test_the_tail_ends_with_the_frame_that_is_shown_last(
    extension: Plan, source: Footage, seconds: float, fps: int
) -> None:
    plan = replace(extension, source_seconds=seconds, fps=fps)
    shown = np.concatenate(list(source.frames(Size(64, 48), fps, plan.source_frames)))
    found = tail(source, plan)
    assert len(found) == TAIL
    assert np.array_equal(found[-1], shown[-1])
    assert np.array_equal(found[-2], shown[max(0, len(shown) - 1 - fps // 12)])


Case = tuple[Plan, Conditions]


@pytest.fixture
def cases(plan: Plan, edit: Plan, extension: Plan, source: Footage) -> dict[str, Case]:
    given = np.full((48, 64, 3), 99, np.uint8)
    return {
        "first": (plan, Conditions(given)),
        "last": (plan, Conditions(last_frame_HWC=given)),
        "keyframes": (replace(plan, keyframes=(Keyframe(0.5, "key"),)), Conditions(keyframes=((0.5, given),))),
        "shots": (replace(plan, seconds=2, shots=(Shot("a", 1), Shot("b", 1))), Conditions(references=(None, given))),
        "edit": (edit, Conditions(source=source)),
        "mask": (edit, Conditions(source=source, mask_HW=given[..., 0])),
        "extend": (extension, Conditions(source=source)),
        "anchors": (replace(plan, seconds=9, rendered=Size(32, 32)), Conditions()),
    }


@pytest.mark.parametrize("task", ["first", "last", "keyframes", "shots", "edit", "mask", "extend", "anchors"])
def test_every_task_can_be_stopped_anywhere_and_counts_its_forwards(
    networks: Checkpoint, cases: dict[str, Case], task: str
) -> None:
    engine = DitEngine(networks, long="anchors" if task == "anchors" else "stream")
    asked, conditions = cases[task]
    chunks, steps = render(engine, asked, conditions)
    denoised = [step for step in steps if step.phase == "denoise"]
    assert [(step.done, step.total) for step in denoised] == [(done, len(denoised)) for done in range(len(denoised))]
    assert steps[-1] == Step("decode", asked.rendered_frames, asked.rendered_frames)
    for stop_at in range(0, len(steps), max(1, len(steps) // 5)):
        with pytest.raises(Interrupted):
            list(engine.render(asked, conditions, stopping(stop_at)))
    assert clip_of(engine, asked, conditions).tobytes() == np.concatenate(chunks).tobytes()


def stopping(after: int) -> OnStep:
    seen: list[Step] = []

    def on_step(step: Step) -> None:
        if len(seen) == after:
            raise Interrupted
        seen.append(step)

    return on_step
