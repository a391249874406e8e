"""The procedural world: same seed, same clip and caption; pictures that mean what they say."""

from __future__ import annotations

import pytest
import torch

from engines.dit.data import FAMILIES, clip, draw, textures
from engines.dit.data.canvas import Canvas


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_is_a_function_of_its_seed(family: str) -> None:
    one, two = clip(5, family), clip(5, family)
    assert one.caption == two.caption
    assert torch.equal(draw([one], 3, 32, 48)[0], draw([two], 3, 32, 48)[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_at_any_size_within_range(family: str) -> None:
    clips = [clip(seed, family) for seed in range(3)]
    for height, width in ((32, 48), (48, 32), (33, 31)):
        video, mask = draw(clips, 2, height, width)
        assert video.shape == (3, 2, 3, height, width)
        assert mask.shape == (3, 2, height, width)
        assert video.isfinite().all()
        assert 0 <= video.min() <= video.max() <= 1
        assert 0 <= mask.min() <= mask.max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_something_moves_in_every_family(family: str) -> None:
    video, _ = draw([clip(seed, family) for seed in range(4)], 7, 48, 80)
    assert ((video[:, 6] - video[:, 0]).abs().amax((1, 2, 3)) > 0.05).all()


def test_a_batch_does_not_change_a_clip() -> None:
    clips = [clip(seed) for seed in range(6)]
    together, _ = draw(clips, 2, 32, 48)
    for index, one in enumerate(clips):
        assert torch.allclose(draw([one], 2, 32, 48)[0][0], together[index], atol=1e-5)


def test_captions_name_the_motion_and_the_shape_goes_there() -> None:
    seen = 0
    for seed in range(200):
        one = clip(seed, "shapes")
        heading = (one.values["motion"] == 1.0) - (one.values["motion"] == 0.0)
        if heading:
            seen += 1
            assert ("right" if heading > 0 else "left") in one.caption.lower()
            _, mask = draw([one], 13, 36, 64)
            centre = (mask[0] * torch.linspace(0, 1, 64)).sum((1, 2)) / mask[0].sum((1, 2))
            assert (centre[12] - centre[0]) * heading > 0.1
    assert seen > 50


def test_captions_vary_and_are_sentences() -> None:
    captions = {clip(seed).caption for seed in range(300)}
    assert len(captions) > 280
    assert all(2 <= len(caption.split()) <= 40 and "{" not in caption for caption in captions)


def test_a_crop_shows_the_same_scene() -> None:
    whole = Canvas.of(2, 64, 64)
    window = whole.crop(8, 16, 32, 32)
    picture = textures.clouds(whole.u, whole.v, 1, torch.Generator().manual_seed(0))
    part = textures.clouds(window.u, window.v, 1, torch.Generator().manual_seed(0))
    assert torch.allclose(picture[..., 8:40, 16:48], part, atol=1e-5)
