"""The committed weights draw what they are asked for."""

from __future__ import annotations

import pytest

from engines.dit import evaluate
from engines.dit.checkers import SceneJudge
from engines.dit.checkpoint import FILES, WEIGHTS
from engines.dit.data import clip, draw, seconds
from engines.dit.engine import DitEngine
from engines.dit.evaluate.asking import bytes_of, decibels, video_of


@pytest.fixture(scope="module")
def trained() -> DitEngine:
    return DitEngine.load()


def test_the_weights_are_small_enough_to_commit(trained: DitEngine) -> None:
    assert sum((WEIGHTS / name).stat().st_size for name in FILES) <= 10_000_000
    assert len(trained.checkpoint) == 64


def test_most_prompts_give_the_scene_they_name(trained: DitEngine) -> None:
    judge = SceneJudge([clip(seed) for seed in range(2000, 2250)], 72, 128)
    prompts = {
        "a red ball rolls left": "shapes",
        "a beautiful sunset over a mountain lake, with trees swaying in the wind": "lake",
        "a futuristic city at night, with flying cars between neon-lit skyscrapers": "city",
        "an astronaut floating in space, Earth visible in the background, stars twinkling": "space",
        "the moon over the ocean at night": "sea",
        "snow falling over a forest": "weather",
    }
    seen = {}
    for prompt, family in prompts.items():
        video = video_of(evaluate.frames_of(trained, evaluate.plan_for(prompt)))
        seen[prompt] = judge.family(video) == family
    assert sum(seen.values()) >= 5, seen


def test_a_clip_begins_with_the_picture_it_was_given(trained: DitEngine) -> None:
    given = draw([clip(904, "lake")], seconds(1, 6), 144, 256)[0][0]
    made = video_of(evaluate.frames_of(trained, evaluate.plan_for("a mountain lake", steps=1), bytes_of(given)[0]))
    assert decibels(made[:1], given) > 25
