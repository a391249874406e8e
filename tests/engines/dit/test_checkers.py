"""The judges are right about the renderer's clips and wrong about shuffled captions."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch

from engines.dit.checkers import (
    SceneJudge,
    amount,
    background,
    camera,
    cuts,
    motion,
    nearest_colour,
    object_colour,
    shape,
    weather,
)
from engines.dit.checkers.movement import sway
from engines.dit.checkers.styles import screened
from engines.dit.data import Clip, clip, draw, seconds
from engines.dit.data.words import COLOURS
from engines.dit.evaluate.attributes import judge_of
from engines.dit.evaluate.prompts import ATTRIBUTES, judgeable

FIRST = 60_000


def telling(name: str, count: int) -> list[Clip]:
    """Clips whose caption tells a fact that a judge can see."""
    return list(islice((one for one in map(clip, range(FIRST, FIRST + 4000)) if name in judgeable(one)), count))


def video(one: Clip, height: int = 108, width: int = 192) -> torch.Tensor:
    return draw([one], seconds(24, 6.0), height, width)[0][0]


def judged(name: str, clips: list[Clip]) -> tuple[list[bool], list[bool]]:
    """Right under its own caption, right under the next clip's."""
    sights = [judge_of(name)(video(one)) for one in clips]
    said = [one.facts[name] for one in clips if one.facts]
    following = said[1:] + said[:1]
    return [a == b for a, b in zip(sights, said, strict=True)], [a == b for a, b in zip(sights, following, strict=True)]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_judge_is_right_about_true_clips_and_not_about_others(name: str) -> None:
    right, wrong = judged(name, telling(name, 9))
    assert sum(right) >= 8
    assert sum(wrong) <= 7


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_ceiling_of_a_judge_is_97_percent(name: str) -> None:
    right, wrong = judged(name, telling(name, 60))
    print(f"{name}: ceiling {sum(right)} of {len(right)}, chance {sum(wrong)}")
    assert sum(right) >= 58
    assert sum(wrong) <= 0.6 * len(wrong)


def test_an_empty_clip_has_a_background_and_nothing_else() -> None:
    empty = torch.tensor(COLOURS["pink"]).view(1, 3, 1, 1).expand(8, 3, 54, 96)
    assert background(empty) == "pink"
    assert [look(empty) for look in (object_colour, shape, motion, camera, weather, screened)] == [None] * 6
    assert cuts(empty) == []
    assert amount(empty) == 0


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_is_itself_also_in_shade(name: str) -> None:
    assert nearest_colour(torch.tensor(COLOURS[name]) * 0.92) == name


def filmed(across: float, down: float, zoom: float) -> torch.Tensor:
    """A still pattern of waves under a camera that moves and zooms, 12 frames at 12 a second."""
    t = torch.arange(12).view(-1, 1, 1) / 12
    u = (torch.arange(128).view(1, 1, -1) + 0.5 - 64) / 72 * torch.exp(-zoom * t) + across * t
    v = (torch.arange(72).view(1, -1, 1) + 0.5 - 36) / 72 * torch.exp(-zoom * t) + down * t
    grey = 0.5 + 0.2 * torch.sin(9 * u + 4 * v) + 0.2 * torch.sin(13 * v - 5 * u + 1)
    return grey[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize(
    ("way", "name"),
    [((0.2, 0, 0), "pan right"), ((-0.2, 0, 0), "pan left"), ((0, 0, 0.2), "zoom in"), ((0, 0, -0.2), "zoom out")],
)
def test_the_way_of_a_camera_is_measured(way: tuple[float, float, float], name: str) -> None:
    found = sway(filmed(*way))
    assert found.across == pytest.approx(-11 / 12 * way[0], abs=0.025)
    assert found.down == pytest.approx(-11 / 12 * way[1], abs=0.025)
    assert found.nearer == pytest.approx(11 / 12 * way[2], abs=0.025)
    assert camera(filmed(*way)) == name


def test_more_tempo_is_more_movement() -> None:
    calm = next(one for one in telling("motion", 60) if one.pace == 1 and not one.style)
    fast = replace(calm, values={**calm.values, "pace": 2.0})
    assert 1.4 * amount(video(calm)) < amount(video(fast)) < 2.6 * amount(video(calm))


def test_a_cut_is_found_where_it_is_and_nowhere_else() -> None:
    calm, other = (video(clip(FIRST, family)) for family in ("sea", "city"))
    assert cuts(torch.cat([calm, other[:10], calm])) == [24, 34]
    assert cuts(video(clip(FIRST + 1, "shapes"))) == []


def test_the_scene_judge_knows_scenes() -> None:
    judge = SceneJudge([clip(seed) for seed in range(2_000_000, 2_000_450)], 54, 96)
    clips = [clip(seed) for seed in range(FIRST, FIRST + 40)]
    right = [judge.family(draw([one], torch.tensor([2.0]), 54, 96)[0][0]) == one.family for one in clips]
    assert sum(right) / len(right) > 0.85
