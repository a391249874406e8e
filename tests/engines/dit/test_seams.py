"""Seams do not jump, and where the model goes on by itself nothing is added."""

from __future__ import annotations

import numpy as np
import pytest

from engines.dit.seams import Seams, share, usual


def going_up(begin: float, count: int, step: float = 0.01) -> np.ndarray:
    return np.stack([np.full((2, 3, 3), begin + step * index, np.float32) for index in range(count)])


def levels(*chunks: np.ndarray) -> np.ndarray:
    return np.concatenate(chunks)[:, 0, 0, 0]


def test_a_jump_is_spread_over_the_frames_behind_it() -> None:
    seams = Seams(12)
    found = levels(
        seams.passed(going_up(0.2, 4)),
        seams.passed(going_up(0.6, 4), joins=True),
        *(seams.passed(going_up(0.64 + 0.04 * index, 4)) for index in range(3)),
    )
    assert found[4] - found[3] == pytest.approx(0.01, abs=1e-6), "the seam differs as much as frames usually do"
    assert np.abs(np.diff(found)).max() < 0.37 * 1.5 / 12 + 0.011
    assert found[-1] == pytest.approx(0.75), "a second later all is as it was drawn"


def test_what_goes_on_by_itself_is_left_alone() -> None:
    seams = Seams(12)
    before, after = going_up(0.2, 4), going_up(0.24, 4)
    assert np.array_equal(seams.passed(before), before)
    np.testing.assert_allclose(seams.passed(after, joins=True), after, atol=1e-6)


def test_frames_that_join_nothing_are_left_alone() -> None:
    seams = Seams(12)
    first, second = going_up(0.2, 1), going_up(0.9, 4)
    assert np.array_equal(seams.passed(first, joins=True), first)
    assert np.array_equal(seams.passed(second), second)


def test_a_second_seam_takes_over_what_is_left_of_the_first() -> None:
    seams = Seams(12)
    found = levels(
        seams.passed(going_up(0.0, 1)),
        seams.passed(going_up(0.5, 4), joins=True),
        seams.passed(going_up(0.9, 4), joins=True),
    )
    assert np.abs(np.diff(found)).max() < 0.1


def test_shares_fall_from_one_to_nothing_and_add_up_with_those_from_the_other_side() -> None:
    falling = [float(share(distance, 6)) for distance in range(9)]
    assert falling[0] == 1
    assert falling[6:] == [0, 0, 0]
    assert falling == sorted(falling, reverse=True)
    assert [a + b for a, b in zip(falling[:7], falling[6::-1], strict=True)] == pytest.approx([1.0] * 7)
    assert usual(going_up(0.3, 1)) == 0
