"""Windows cover a stretch, end at pictures, and know what training has shown them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.dit.windows import STILLS, Stretch, anchor_moment, chain, longest, spans

WINDOW = 13


def test_a_frame_lies_in_a_latent_frame_and_stands_at_its_end() -> None:
    opening, going_on = Stretch(49), Stretch(48, opens=False)
    assert (opening.latents, going_on.latents, Stretch(1).latents, Stretch(1, opens=False).latents) == (13, 12, 1, 1)
    assert [opening.latent(frame) for frame in (0, 1, 4, 5, 48)] == [0, 1, 1, 2, 12]
    assert [going_on.latent(frame) for frame in (0, 3, 4, 47)] == [0, 0, 1, 11]
    assert [opening.moment(frame) for frame in (0, 1, 4, 48)] == [0, 1, 1.75, 12.75]
    assert [going_on.moment(frame) for frame in (0, 3)] == [0, 0.75]


@pytest.mark.parametrize(
    ("frames", "lengths"), [(1, [1]), (25, [7]), (49, [13]), (50, [7, 9]), (97, [9, 10, 10]), (720, [11])]
)
def test_a_stretch_without_pictures_becomes_windows_of_about_equal_length(frames: int, lengths: list[int]) -> None:
    found = spans(Stretch(frames), (), WINDOW)
    assert [span.new + span.history for span in found][: len(lengths)] == lengths
    assert sum(span.new for span in found) == Stretch(frames).latents
    assert [span.reference for span in found] == [False] + [True] * (len(found) - 1)


def test_a_last_frame_is_a_picture_beside_the_window_that_holds_it() -> None:
    (span,) = spans(Stretch(48), {0, 47}, WINDOW)
    assert (span.history, span.new, span.stills, span.start) == (0, 13, (47,), 0)
    assert span.at(Stretch(48).moment(47)) == 12.5
    *before, last = spans(Stretch(144), {143}, WINDOW)
    assert (last.stills, last.reference) == ((143,), False)
    assert not any(span.stills for span in before)


def test_a_window_ends_at_a_picture_that_is_near_enough() -> None:
    first, second = spans(Stretch(73), {0, 30}, WINDOW)
    assert (first.new, first.stills) == (9, (30,))
    assert (second.begin, second.history, second.new) == (9, 2, 10)


def test_an_extension_goes_on_from_its_source() -> None:
    stretch = Stretch(36, opens=False)
    (short,) = spans(stretch, (), WINDOW)
    assert (short.history, short.new, short.start, short.reference) == (2, 9, 1, True)
    assert short.at(0) == 3
    assert (stretch.reference, short.at(stretch.reference_moment)) == (-9, 0), "the picture just before the history"
    longer = spans(Stretch(96, opens=False), (), WINDOW)
    assert [(span.history, span.new) for span in longer] == [(2, 8)] * 3
    assert longer[1].at(stretch.reference_moment) == -8


def test_the_first_picture_never_stands_farther_away_than_in_training() -> None:
    _, second, *_, last = spans(Stretch(720), (), WINDOW)
    assert second.at(0) == 1 - (second.begin - second.history)
    assert last.at(0) == -16


@given(
    frames=st.integers(1, 300),
    opens=st.booleans(),
    window=st.sampled_from([3, 7, 13]),
    keyed=st.sets(st.integers(0, 299), max_size=9),
)
def test_every_latent_frame_is_drawn_once_and_every_picture_stands_beside_one_window(
    *, frames: int, opens: bool, window: int, keyed: set[int]
) -> None:
    stretch = Stretch(frames, opens)
    pictures = {frame for frame in keyed if frame < frames}
    found = spans(stretch, pictures, window)
    assert [span.begin for span in found] == [sum(each.new for each in found[:index]) for index in range(len(found))]
    assert sum(span.new for span in found) == stretch.latents
    assert sorted(frame for span in found for frame in span.stills) == sorted(pictures - ({0} if opens else set()))
    for span in found:
        assert span.new >= 1
        assert 1 <= span.history + span.new <= (window if span.begin == 0 and opens else window - 1)
        assert span.history <= span.begin + 2 * (not opens)
        assert (span.history == 0) == (opens and span.begin == 0)
        assert len(span.stills) <= STILLS or len({stretch.latent(frame) for frame in span.stills}) < len(span.stills)
        assert (span.start == 0) == (opens and span.begin == span.history)


def test_anchors_of_a_minute_are_four_seconds_apart_and_in_two_groups_that_share_one() -> None:
    found = chain(720, (), WINDOW, 12)
    assert found.anchors == tuple(range(0, 721, 48))
    assert [len(group) for group in found.groups] == [8, 9]
    assert found.groups[0][-1] == found.groups[1][0]
    assert [len(group) for group in chain(360, (), 7, 6).groups] == [6, 6, 6]
    assert len(chain(480, (), WINDOW, 12).groups) == 1
    assert chain(480, (), WINDOW, 6).anchors[1] == 24, "four seconds at any rate"
    assert anchor_moment(48, 12) == anchor_moment(24, 6) == 12


@given(
    frames=st.integers(50, 720),
    keyed=st.sets(st.integers(0, 719), max_size=9),
    window=st.sampled_from([3, 7, 13]),
    fps=st.sampled_from([6, 12]),
)
def test_each_gap_between_anchors_is_one_window(frames: int, keyed: set[int], window: int, fps: int) -> None:
    pictures = {frame for frame in keyed if frame < frames}
    found = chain(frames, pictures, window, fps)
    assert pictures <= {*found.anchors}
    assert found.anchors[-1] >= frames - 1 > found.anchors[-2]
    assert list(found.anchors) == sorted({*found.anchors})
    for begin, end in pairwise(found.anchors):
        assert end - begin <= longest(window) - 1
        (span,) = spans(Stretch(end - begin + 1), {0, end - begin}, window)
        assert span.stills == (end - begin,)
    assert [anchor for group in found.groups for anchor in group[:-1]] + [found.anchors[-1]] == list(found.anchors)
    assert all(2 <= len(group) <= window for group in found.groups)
