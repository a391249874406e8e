"""Given pictures come back as they are, and nothing jumps beside them."""

from __future__ import annotations

import numpy as np
import pytest

from domain.video import Size
from engines.dit.pictures import alpha, carried, fit, kept, painted


def drawn(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return list(rng.random((count, 4, 6, 3), np.float32))


def carry(frames: list[np.ndarray], given: dict[int, np.ndarray], fade: int, first: int = 0) -> list[np.ndarray]:
    return list(carried(iter(frames), given, fade, first=first))


def test_nothing_given_changes_nothing() -> None:
    frames = drawn(9)
    assert all(np.array_equal(a, b) for a, b in zip(carry(frames, {}, 6), frames, strict=True))


@pytest.mark.parametrize("places", [(0,), (8,), (3,), (0, 8), (2, 3), (0, 4, 5, 8)])
def test_the_frame_at_a_picture_is_the_picture(places: tuple[int, ...]) -> None:
    frames = drawn(9)
    given = {place: np.full_like(frames[0], 0.1 * place) for place in places}
    found = carry(frames, given, 6)
    assert len(found) == 9
    for place in places:
        np.testing.assert_allclose(found[place], given[place], atol=1e-6)


def test_what_is_added_fades_on_both_sides_and_ends_at_the_next_picture() -> None:
    black = [np.zeros((1, 1, 3), np.float32)] * 21
    white = np.ones((1, 1, 3), np.float32)
    alone = [float(frame[0, 0, 0]) for frame in carry(black, {10: white}, 5)]
    np.testing.assert_allclose(
        alone[5:16], [0, 0.104, 0.352, 0.648, 0.896, 1, 0.896, 0.648, 0.352, 0.104, 0], atol=1e-6
    )
    assert max(alone[:5] + alone[16:]) == 0
    between = [float(frame[0, 0, 0]) for frame in carry(black, {10: white, 12: 0 * white}, 5)]
    np.testing.assert_allclose(between[10:15], [1, 0.5, 0, 0, 0], atol=1e-6)


def test_frames_may_begin_before_the_clip() -> None:
    frames = drawn(5)
    found = carry(frames, {-1: frames[0] + 1}, 2, first=-1)
    np.testing.assert_allclose(found[0], frames[0] + 1, atol=1e-6)
    np.testing.assert_allclose(found[1], frames[1] + 0.5, atol=1e-6)
    assert np.array_equal(found[2], frames[2])


def test_no_more_frames_are_held_back_than_fade() -> None:
    taken = 0

    def counted() -> object:
        nonlocal taken
        for frame in drawn(100):
            taken += 1
            yield frame

    most = 0
    for given_out, _ in enumerate(carried(counted(), {90: drawn(1)[0]}, 12)):
        most = max(most, taken - given_out)
    assert most <= 12


def test_a_picture_of_any_shape_is_cut_in_the_middle_and_scaled() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255
    assert fit(picture, Size(64, 64)).shape == (3, 64, 64)
    assert fit(picture, Size(64, 64)).min() > 0.95


def test_a_token_is_kept_only_if_nothing_of_it_is_repainted() -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[20, 40] = 255
    keep = kept(mask, Size(96, 64))
    assert keep.shape == (8, 12)
    assert keep[2:4, 4:6].sum() == 0
    assert keep.sum() == 8 * 12 - 4


def test_outside_the_mask_every_pixel_is_the_sources_and_its_edge_is_soft() -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[16:48, 32:64] = 255
    share = alpha(mask, Size(96, 64))
    assert share[mask == 0].max() == 0
    assert share[32, 48] == 1
    edge = share[32, 32:40, 0]
    assert 0 < edge[0] < 0.7
    assert np.all(np.diff(edge) >= 0)
    under, over = drawn(2)
    assert np.array_equal(painted(under, over, np.zeros((4, 6, 1), np.float32)), under)
    np.testing.assert_allclose(painted(under, over, np.ones((4, 6, 1), np.float32)), over, atol=1e-6)
