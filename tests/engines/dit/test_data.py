"""The procedural world: same seed, same clip and caption; pictures that mean what they say."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from engines.dit.config import TextConfig
from engines.dit.data import (
    FAMILIES,
    HELD_OUT,
    STYLES,
    Camera,
    Canvas,
    Clip,
    clip,
    draw,
    draw_on,
    held_out_clip,
    imagine,
    seconds,
    styles,
    textures,
)
from engines.dit.data.director import MOVE_WORDS, MOVES, STYLE_WORDS
from engines.dit.data.scene import ONE_IN, is_held_out
from engines.dit.data.shapes import NEW_MOTIONS, NEW_SHAPES, SHAPES, VERBS
from engines.dit.data.words import NEW, SYNONYMS
from engines.dit.text import Vocabulary

PROMPTS = (
    "a beautiful sunset over a mountain lake, with trees swaying in the wind",
    "a futuristic city at night, with flying cars between neon-lit skyscrapers",
    "a serene mountain lake at sunrise, with mist rising from the water",
    "an astronaut floating in space, Earth visible in the background, stars twinkling",
)


def directed(one: Clip, *, style: str = "", pace: float = 1.0, camera: Camera = Camera()) -> Clip:  # noqa: B008 - frozen
    """The same scene, directed otherwise."""
    moves = {"pace": pace, "pan_u": camera.pan_u, "pan_v": camera.pan_v, "zoom": camera.zoom}
    return replace(one, style=style, pace=pace, camera=camera, values={**one.values, **moves})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_is_a_function_of_its_seed(family: str) -> None:
    one, two = clip(5, family), clip(5, family)
    assert one == two
    assert torch.equal(draw([one], seconds(3, 6), 32, 48)[0], draw([two], seconds(3, 6), 32, 48)[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_at_any_size_within_range(family: str) -> None:
    clips = [clip(seed, family) for seed in range(3)]
    for height, width in ((32, 48), (48, 32), (33, 31)):
        video, mask = draw(clips, seconds(2, 6), height, width)
        assert video.shape == (3, 2, 3, height, width)
        assert mask.shape == (3, 2, height, width)
        assert video.isfinite().all()
        assert 0 <= video.min() <= video.max() <= 1
        assert 0 <= mask.min() <= mask.max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_something_moves_in_every_family_for_a_minute(family: str) -> None:
    clips = [directed(clip(seed, family)) for seed in range(4)]
    for start in (0.0, 56.0):
        video, _ = draw(clips, seconds(7, 6, start), 48, 80)
        assert ((video[:, 6] - video[:, 0]).abs().amax((1, 2, 3)) > 0.05).all()
    video, _ = draw(clips, torch.arange(0, 61, 4.0), 32, 48)
    assert video.isfinite().all()
    assert (video.std((2, 3, 4)) > 0.01).all()


def test_a_batch_does_not_change_a_clip() -> None:
    clips = [clip(seed) for seed in range(12)]
    together, _ = draw(clips, seconds(2, 6), 32, 48)
    for index, one in enumerate(clips):
        assert torch.equal(draw([one], seconds(2, 6), 32, 48)[0][0], together[index])


def test_clips_drawn_together_on_an_accelerator_are_those_drawn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [clip(seed, family) for family in FAMILIES for seed in range(6)]
    alone = draw(clips, seconds(2, 6), 32, 48)
    monkeypatch.setattr("engines.dit.data.groups", grouped)
    together = draw(clips, seconds(2, 6), 32, 48)
    for one, other in zip(alone, together, strict=True):
        assert ((one - other).abs() > 1e-3).float().mean() < 1e-3


def grouped(clips: list[Clip], **_: bool) -> list[list[int]]:
    """Rows of one family, style and stillness."""
    keys = [(one.family, one.style, one.camera == Camera()) for one in clips]
    return [[row for row, key in enumerate(keys) if key == wanted] for wanted in sorted(set(keys))]


def test_captions_name_the_motion_and_the_shape_goes_there() -> None:
    seen = 0
    for seed in range(300):
        one = clip(seed, "shapes")
        heading = {"right": 1, "left": -1}.get(one.facts.get("motion", ""), 0)
        if heading and not one.style:
            seen += 1
            assert ("right" if heading > 0 else "left") in one.caption.lower()
            _, mask = draw([one], seconds(13, 6), 36, 64)
            centre = (mask[0] * torch.linspace(0, 1, 64)).sum((1, 2)) / mask[0].sum((1, 2))
            assert (centre[12] - centre[0]) * heading > 0.1 * min(1, one.pace)
    assert seen > 20


def test_captions_vary_and_are_sentences() -> None:
    captions = {clip(seed).caption for seed in range(300)}
    assert len(captions) > 280
    assert all(2 <= len(caption.split()) <= 50 and "{" not in caption for caption in captions)


def test_a_camera_that_pans_left_shows_what_lies_to_the_left() -> None:
    one = clip(3, "weather")
    for pan, way in ((-0.1, 1), (0.1, -1)):
        video, _ = draw([directed(one, camera=Camera(pan_u=pan))], torch.tensor([0.0, 1.0]), 72, 128)
        first, last = video[0].mean(1) - video[0].mean((1, 2, 3), keepdim=True)[:, 0]
        errors = {
            shift: (first[8:, 20:-20] - last[8:, 20 + shift : 108 + shift]).square().mean().item()
            for shift in range(-12, 13)
        }
        assert abs(min(errors, key=errors.__getitem__) - way * 7) <= 1


def test_a_camera_that_zooms_in_makes_things_grow() -> None:
    one = directed(clip(2, "space"))
    areas = {}
    for zoom in (-0.1, 0.0, 0.1):
        _, mask = draw([directed(one, camera=Camera(zoom=zoom))], torch.tensor([0.0, 1.5]), 72, 128)
        areas[zoom] = (mask[0, 1].sum() / mask[0, 0].sum()).item()
    assert areas[-0.1] < 0.9 < areas[0.0] < 1.1 < areas[0.1]


def test_twice_the_pace_is_twice_the_way() -> None:
    one = next(one for one in map(clip, range(1000)) if one.facts.get("motion") == "right")

    def way(pace: float) -> float:
        _, mask = draw([directed(one, pace=pace)], torch.tensor([0.0, 0.6]), 72, 128)
        centre = (mask[0] * torch.linspace(0, 1, 128)).sum((1, 2)) / mask[0].sum((1, 2))
        return (centre[1] - centre[0]).item()

    assert way(2.0) == pytest.approx(2 * way(1.0), rel=0.1)
    assert directed(one, pace=3.0).motion == pytest.approx(1)
    assert directed(one, pace=1 / 3).motion == pytest.approx(0)


def test_noir_has_no_colour_and_each_style_changes_the_picture() -> None:
    for family in FAMILIES:
        plain = draw([directed(clip(1, family))], torch.tensor([1.0]), 48, 80)[0]
        for style in STYLES:
            styled = draw([directed(clip(1, family), style=style)], torch.tensor([1.0]), 48, 80)[0]
            assert (styled - plain).abs().mean() > 0.02
            if style == "noir":
                assert (styled.amax(2) - styled.amin(2)).max() < 1e-6


def test_grain_and_paper_do_not_move_with_the_camera() -> None:
    params = {"pan_u": 0.1, "pan_v": 0.0, "zoom": 0.1, "pace": 1.0}
    board = Canvas.at(torch.tensor([0.0, 2.0]), 72, 128)
    board = board.filmed({name: torch.tensor(value).view(1, 1, 1, 1) for name, value in params.items()})
    for style in ("noir", "sketch"):
        picture = styles.FILTERS[style](board, torch.full((1, 2, 3, 72, 128), 0.4))
        assert torch.equal(picture[:, 0], picture[:, -1])
        assert picture.std() > 0.01


def test_training_never_sees_a_held_out_combination_and_held_out_clips_have_one() -> None:
    assert not any(clip(HELD_OUT + seed).unseen for seed in range(20_000))
    kinds = [pair[0] for seed in range(300) for pair in held_out_clip(seed).unseen]
    assert len(kinds) >= 300
    assert set(kinds) == set(ONE_IN)
    for kind in ONE_IN:
        assert any(pair[0] == kind for pair in held_out_clip(1, kind).unseen)


def test_only_combinations_with_something_new_are_held_out_and_not_too_many() -> None:
    pairs = {pair for seed in range(6000) for pair in imagine(Random(seed), None).pairs}
    for kind, odds in ONE_IN.items():
        own = [pair for pair in pairs if pair[0] == kind]
        share = sum(map(is_held_out, own)) / len(own)
        print(f"{kind}: {len(own)} combinations, {share:.0%} held out")
        assert 0.4 / odds < share < 1.8 / odds
    new = {*NEW_SHAPES, *NEW_MOTIONS, *STYLES, *MOVES, *(word for words in NEW.values() for word in words)}
    assert all(set(pair[1:]) & new for pair in pairs)


def ways_to_say(name: str, fact: str) -> list[str]:
    """Phrases one of which is in a caption with this fact."""
    extra = {
        "sunset": ["sets", "setting sun", "evening"], "sunrise": ["rises", "morning sun"],
        "night": ["moon", "night", "dark", "stars"], "day": ["blue sea", "clear sky", "sunny day", "blue", "day"],
        "snow": ["snow"], "rain": ["rain"], "lake": ["lake"], "sea": ["sea"], "space": ["star", "weightless"],
        "shapes": [word for shape in SHAPES for word in SYNONYMS[shape]], "weather": ["snow", "rain", "winter"],
        "mountains": ["mountain", "peaks"], "city": ["city"],
    }  # fmt: skip
    words = [*SYNONYMS.get(fact, ()), *NEW.get(fact, ()), *extra.get(fact, ())]
    verbs: tuple[str, ...] = VERBS.get(fact, ())
    words += [verb.replace("{} ", "") for verb in verbs]
    forms = {"style": STYLE_WORDS, "camera": MOVE_WORDS}.get(name, {}).get(fact, ())
    return words + [form.replace("{}", "").strip(" ,") for form in forms]


def test_what_the_facts_say_the_caption_says() -> None:
    for seed in range(3000):
        one = clip(HELD_OUT + seed)
        assert one.facts["family"] == one.family
        for name, fact in one.facts.items():
            words = ways_to_say(name, fact)
            assert any(word.lower() in one.caption.lower() for word in words), (name, fact, one.caption)


def test_the_prompts_of_the_readme_are_made_of_known_words() -> None:
    split = Vocabulary((), TextConfig()).split
    words = {word for seed in range(8000) for word in split(clip(HELD_OUT + seed).caption)}
    print(f"{len(words)} words in 8000 captions")
    for prompt in PROMPTS:
        assert set(split(prompt)) <= words, set(split(prompt)) - words


def test_two_thirds_of_the_clips_are_directed() -> None:
    clips = [clip(HELD_OUT + seed) for seed in range(3000)]
    plain = sum(not one.style and one.pace == 1 and one.camera == Camera() for one in clips)
    assert 0.27 < plain / len(clips) < 0.40
    for what in (*STYLES, *MOVES):
        assert any(what in one.facts.values() for one in clips)


def test_a_crop_shows_the_same_scene() -> None:
    whole = Canvas.at(seconds(2, 6), 64, 64)
    clips = [clip(seed, family) for seed, family in enumerate(FAMILIES)]
    plain = [directed(one, camera=one.camera) for one in clips]
    picture, part = draw_on(whole, plain)[0], draw_on(whole.crop(8, 16, 32, 32), plain)[0]
    assert ((picture[..., 8:40, 16:48] - part).abs() > 1e-3).float().mean() < 1e-3


def test_textures_have_edges_grain_and_motion_and_are_a_function_of_their_generator() -> None:
    board = Canvas.at(seconds(3, 6), 72, 128)
    one, two = (textures.render(board, 4, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == (4, 3, 3, 72, 128)
    assert one.isfinite().all()
    steps = (one[..., 1:] - one[..., :-1]).abs().flatten(1)
    assert (steps.quantile(0.99, 1) > 0.08).all()
    assert (steps.median(1).values > 1e-3).all()
    assert ((one[:, 2] - one[:, 0]).abs().mean((1, 2, 3)) > 1e-3).all()


def test_noise_falls_with_frequency_as_in_photographs() -> None:
    fields = textures.noise(8, torch.Generator().manual_seed(1))
    power = torch.fft.rfft2(fields).abs().square().mean((0, 1))
    coarse, fine = power[0, 4:8].mean(), power[0, 32:64].mean()
    assert 1.5 < torch.log(coarse / fine) / torch.log(torch.tensor(8.0)) < 4.0


def test_a_cut_joins_two_shots() -> None:
    video = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 9, 3, 8, 8)
    cut = textures.cut(video, torch.Generator().manual_seed(2), odds=0.5)
    assert torch.equal(cut[:, 0], video[:, 0])
    ends = cut[:, -1, 0, 0, 0]
    assert all(end in (row, (row - 1) % 4) for row, end in enumerate(ends))
    assert 0 < (ends != torch.arange(4)).sum() < 4
    assert torch.equal(textures.cut(video, torch.Generator(), odds=0.0), video)
