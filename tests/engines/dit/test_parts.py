"""A plan falls into the right shots, each with its words and pictures."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from domain.video import Keyframe, Plan, Shot
from engines.dit.data.director import MOVE_WORDS, STYLE_WORDS
from engines.dit.parts import USUAL, camera_of, cut, listed, style_of, worded
from engines.protocol import Conditions


def grey(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


@pytest.fixture
def eight(plan: Plan) -> Plan:
    return replace(plan, seconds=8, rendered_fps=12)


def test_a_plan_without_shots_is_one_part(eight: Plan) -> None:
    (part,) = cut(eight, Conditions())
    assert (part.prompt, part.begin, part.frames, part.pictures) == (eight.prompt, 0, 96, {})


def test_each_shot_has_its_words_before_the_common_ones_and_its_picture(eight: Plan) -> None:
    shots = (Shot("sunrise", 3, "key"), Shot("a boat leaves", 5))
    parts = cut(replace(eight, prompt="the sea", shots=shots, style="noir"), Conditions(references=(grey(9), None)))
    assert [part.prompt for part in parts] == ["sunrise, the sea, noir", "a boat leaves, the sea, noir"]
    assert [(part.begin, part.frames) for part in parts] == [(0, 36), (36, 60)]
    assert [list(part.pictures) for part in parts] == [[0], []]


def test_pictures_go_to_the_frame_and_shot_they_belong_to(eight: Plan) -> None:
    shots = (Shot("one", 4, "a"), Shot("two", 4, "b"))
    conditions = Conditions(
        first_frame_HWC=grey(1),
        last_frame_HWC=grey(2),
        keyframes=((2.0, grey(3)), (5.0, grey(4)), (8.0, grey(5))),
        references=(grey(6), grey(7)),
    )
    keyframes = tuple(Keyframe(second, "key") for second, _ in conditions.keyframes)
    first, second = cut(replace(eight, shots=shots, keyframes=keyframes), conditions)
    assert {frame: int(picture[0, 0, 0]) for frame, picture in first.pictures.items()} == {0: 1, 24: 3}
    assert {frame: int(picture[0, 0, 0]) for frame, picture in second.pictures.items()} == {0: 7, 12: 4, 47: 2}


@pytest.mark.parametrize(
    ("prompt", "shots"),
    [
        ("a red ball rolls left", ["a red ball rolls left"]),
        ("a red ball rolls left, then cut to a lake", ["a red ball rolls left", "a lake"]),
        ("a lake. Cut to: the sea. Cut to: a city at night.", ["a lake", "the sea", "a city at night"]),
        ("Shot 1: a lake. Shot 2: the sea.", ["a lake", "the sea"]),
        ("noir. Scene 1 - a street; scene 2 - a bar", ["a street, noir", "a bar, noir"]),
        ("Shot 1: a lake", ["Shot 1: a lake"]),
        ("a lake at noon \u2014 cut to the same lake at night", ["a lake at noon", "the same lake at night"]),
        ("a boat leaves then cut to the sea", ["a boat leaves", "the sea"]),
        ("a haircut to remember, a shot 2 metres above the sea", None),
        ("a woman with hair cut to her shoulders", None),
    ],
)
def test_a_prompt_that_lists_shots_is_split(prompt: str, shots: list[str] | None) -> None:
    assert listed(prompt) == (shots or [prompt])


def test_listed_shots_share_the_clip_evenly_unless_the_plan_has_shots_or_they_are_too_short(eight: Plan) -> None:
    told = replace(eight, prompt="a lake, cut to the sea, cut to a city")
    assert [(part.prompt, part.frames) for part in cut(told, Conditions())] == [
        ("a lake", 32),
        ("the sea", 32),
        ("a city", 32),
    ]
    assert len(cut(replace(told, shots=(Shot("x", 8),)), Conditions())) == 1
    assert len(cut(replace(told, seconds=2), Conditions())) == 1
    assert len(cut(replace(told, source_clip="key"), Conditions())) == 1


def test_a_style_is_said_once_and_found_again() -> None:
    assert worded("a noir street", "noir") == "a noir street"
    assert worded("a street", "noir") == "a street, noir"
    assert style_of("a Cartoon street, at night") == "cartoon"
    assert style_of("the cartoonist's street") == ""
    for style, forms in STYLE_WORDS.items():
        assert {style_of(form.format("a red ball rolls left")) for form in forms} == {style}


@pytest.mark.parametrize(
    ("prompt", "way"),
    [
        ("a lake, the camera slowly moves to the left", (-USUAL, 0.0)),
        ("panning right across a city", (USUAL, 0.0)),
        ("camera pans right and zooms in", (USUAL, USUAL)),
        ("The camera pulls back from a forest", (0.0, -USUAL)),
        ("zoom slowly out of a lake", (0.0, -USUAL)),
        ("a red ball rolls left", (0.0, 0.0)),
        ("a man with a camera walks left", (0.0, 0.0)),
        ("a pan on the left burner", (0.0, 0.0)),
        ("", (0.0, 0.0)),
    ],
)
def test_how_a_camera_moves_is_read_from_the_prompt(prompt: str, way: tuple[float, float]) -> None:
    assert camera_of(prompt) == way


def test_every_word_for_a_move_is_understood() -> None:
    ways = {"pan left": (-USUAL, 0), "pan right": (USUAL, 0), "zoom in": (0, USUAL), "zoom out": (0, -USUAL)}
    for move, forms in MOVE_WORDS.items():
        assert {camera_of(form.format("a sunset over the sea")) for form in forms} == {ways[move]}, move


@pytest.mark.parametrize("piece", [" ", "\n", "and ", ", ", "shot ", "shot 1", "cut to ", "- "])
def test_no_long_prompt_takes_long(piece: str) -> None:
    began = time.process_time()
    listed(piece * (32_000 // len(piece)))
    assert time.process_time() - began < 0.5
