from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from domain.video import Plan
from engines.diffusers.engine import DiffusersEngine
from engines.diffusers.refusal import NotFinite, OutOfMemory
from engines.protocol import Conditions, Interrupted, Step, Unrenderable

from .conftest import picture

EngineOf = Callable[[str], DiffusersEngine]
TASKS = [
    ("wan", Conditions()),
    ("wan_of_images", Conditions(first_frame_HWC=picture(1))),
    ("ltx", Conditions()),
    ("cogvideox", Conditions()),
]


def quiet(_: Step) -> None:
    pass


def drawn(engine: DiffusersEngine, plan: Plan, conditions: Conditions) -> NDArray[np.uint8]:
    return np.concatenate(list(engine.render(plan, conditions, quiet)))


@contextmanager
def counted(network: nn.Module) -> Iterator[list[None]]:
    """Grows with each finished forward."""
    forwards: list[None] = []
    handle = network.register_forward_hook(lambda *_: forwards.append(None))
    try:
        yield forwards
    finally:
        handle.remove()


def at(phase: str, done: int, error: BaseException) -> Callable[[Step], None]:
    def on_step(step: Step) -> None:
        if step.phase == phase and step.done >= done:
            raise error

    return on_step


@pytest.mark.parametrize(("name", "conditions"), TASKS)
@pytest.mark.parametrize("error", [Interrupted(), KeyError("anything else")])
def test_a_render_stopped_at_a_step_ends_before_the_next_forward(
    engine_of: EngineOf, plan: Plan, name: str, conditions: Conditions, error: Exception
) -> None:
    engine = engine_of(name)
    expected = drawn(engine, plan, conditions)
    base: Any = engine._loaded.base
    long = replace(plan, steps=30)
    with counted(base.transformer) as forwards, counted(base.vae.decoder) as decoded, pytest.raises(type(error)):
        list(engine.render(long, conditions, at("denoise", 3, error)))
    a_step = 1 if name in {"ltx", "cogvideox"} else 2  # with guidance, these two ask for both texts at once
    assert len(forwards) == 3 * a_step, "three steps, and nothing after them"
    assert decoded == []
    assert np.array_equal(drawn(engine, plan, conditions), expected)


@pytest.mark.parametrize(("name", "conditions"), TASKS)
def test_a_render_stopped_in_the_autoencoder_ends_before_its_next_piece(
    engine_of: EngineOf, plan: Plan, name: str, conditions: Conditions
) -> None:
    engine = engine_of(name)
    expected = drawn(engine, plan, conditions)
    before = 1 if name.startswith("wan") else 0  # the others decode so few frames in one piece
    with counted(engine._loaded.base.vae.decoder) as decoded, pytest.raises(Interrupted):
        list(engine.render(plan, conditions, at("decode", before, Interrupted())))
    assert len(decoded) == before
    assert np.array_equal(drawn(engine, plan, conditions), expected)


def test_a_render_that_nobody_pulls_any_more_leaves_nothing_behind(engine_of: EngineOf, plan: Plan) -> None:
    engine = engine_of("wan")
    expected = drawn(engine, plan, Conditions())
    chunks: Any = engine.render(plan, Conditions(), quiet)
    next(chunks)
    chunks.close()
    assert engine._loaded.base.vae._feat_map == [None] * len(engine._loaded.base.vae._feat_map)
    assert np.array_equal(drawn(engine, plan, Conditions()), expected)


@contextmanager
def failing(network: nn.Module, times: int, after: int = 0) -> Iterator[None]:
    """`times` forwards of the network find no memory, once `after` have found some."""
    begun = itertools.count()

    def fail(*_: object) -> None:
        if after <= next(begun) < after + times:
            raise torch.OutOfMemoryError("out of memory")

    handle = network.register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("part", ["transformer", "decoder"])
@pytest.mark.parametrize("name", ["wan", "ltx"])
def test_a_render_that_ran_out_of_memory_is_tried_once_more(
    engine_of: EngineOf, plan: Plan, name: str, part: str
) -> None:
    engine = engine_of(name)
    base: Any = engine._loaded.base
    network = base.transformer if part == "transformer" else base.vae.decoder
    expected = drawn(engine, plan, Conditions())
    with failing(network, 1):
        assert np.array_equal(drawn(engine, plan, Conditions()), expected)
    with failing(network, 2), pytest.raises(OutOfMemory, match="smaller sizes or fewer seconds"):
        drawn(engine, plan, Conditions())
    assert np.array_equal(drawn(engine, plan, Conditions()), expected)


@pytest.mark.parametrize(("name", "after"), [("wan", 1), ("wan", 3), ("cogvideox", 1)])
def test_a_later_piece_that_found_no_memory_is_decoded_once_more(
    engine_of: EngineOf, plan: Plan, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    """Frames that have left are not shown twice."""
    engine, clip = engine_of(name), replace(plan, seconds=2, steps=1)
    decoder: Any = engine._loaded.base.vae.decoder
    expected = drawn(engine, clip, Conditions())
    lightened: list[None] = []
    lighten = engine._lighten
    monkeypatch.setattr(engine, "_lighten", lambda: (lightened.append(None), lighten()))
    with failing(decoder, 1, after), counted(engine._loaded.base.transformer) as forwards:
        assert np.array_equal(drawn(engine, clip, Conditions()), expected)
    assert (len(lightened), len(forwards)) == (1, 1 if name == "cogvideox" else 2), "drawn once, decoded twice"
    shown: list[NDArray[np.uint8]] = []
    with (
        failing(decoder, 1, after),
        failing(decoder, 1, 2 * after),  # the same piece again
        pytest.raises(OutOfMemory),
    ):
        shown.extend(engine.render(clip, Conditions(), quiet))
    assert len(shown) == after
    assert np.array_equal(np.concatenate(shown), expected[: sum(map(len, shown))])
    assert len(lightened) == 2, "so that the next clip finds more"
    assert np.array_equal(drawn(engine, clip, Conditions()), expected)


@contextmanager
def poisoned(network: nn.Module) -> Iterator[None]:
    """Whatever the network says is no number."""

    def poison(_network: object, _inputs: object, output: Any) -> Any:
        return (output[0] * torch.nan, *output[1:]) if isinstance(output, tuple) else output * torch.nan

    handle = network.register_forward_hook(poison)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("part", ["transformer", "decoder"])
@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox"])
def test_frames_that_are_no_numbers_are_no_black_clip(engine_of: EngineOf, plan: Plan, name: str, part: str) -> None:
    engine = engine_of(name)
    base: Any = engine._loaded.base
    expected = drawn(engine, plan, Conditions())
    with (
        poisoned(base.transformer if part == "transformer" else base.vae.decoder),
        pytest.raises(NotFinite, match=r"not finite.*bfloat16 or float32") as refused,
    ):
        drawn(engine, plan, Conditions())
    assert (isinstance(refused.value, Unrenderable), refused.value.code) == (True, "render_failed")
    assert np.array_equal(drawn(engine, plan, Conditions()), expected)
