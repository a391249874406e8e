"""A clip is shown at any size and rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domain.video import Plan, Size
from engines.encode import encode
from engines.footage import Footage, FootageError

SECONDS, FPS = 2, 12


@pytest.fixture
def clip(tmp_path: Path) -> Footage:
    """Two seconds at 12 frames a second; picture i is grey 10 i."""
    plan = Plan(
        model="testcard", prompt="", seconds=SECONDS, rendered=Size(64, 32), rendered_fps=FPS, delivered=Size(64, 32),
        fps=FPS, seed=1, steps=1, guidance=1.0,
    )  # fmt: skip
    levels = np.arange(plan.rendered_frames, dtype=np.uint8) * 10
    frames_THWC = np.broadcast_to(levels[:, None, None, None], (plan.rendered_frames, 32, 64, 3))
    drafts = encode([np.ascontiguousarray(frames_THWC)], plan, tmp_path, lambda _done, _total: None)
    return Footage(drafts.video)


def levels(clip: Footage, fps: int, count: int) -> list[int]:
    chunks = list(clip.frames(Size(32, 16), fps, count))
    assert all(chunk.shape[1:] == (16, 32, 3) for chunk in chunks)
    return [round(float(frame.mean()) / 10) for chunk in chunks for frame in chunk]


def test_its_own_rate_gives_every_picture_once(clip: Footage) -> None:
    assert levels(clip, FPS, SECONDS * FPS) == list(range(24))


def test_half_the_rate_gives_every_other_picture(clip: Footage) -> None:
    assert levels(clip, FPS // 2, SECONDS * FPS // 2) == list(range(0, 24, 2))


def test_twice_the_rate_shows_every_picture_twice(clip: Footage) -> None:
    assert levels(clip, FPS * 2, SECONDS * FPS * 2) == [index // 2 for index in range(48)]


def test_the_last_picture_stays_for_what_is_missing(clip: Footage) -> None:
    assert levels(clip, FPS, 30) == [*range(24), *[23] * 6]


def test_no_more_is_decoded_than_was_asked_for(clip: Footage) -> None:
    assert levels(clip, FPS, 3) == [0, 1, 2]


def test_the_last_picture_can_be_had_alone(clip: Footage) -> None:
    assert round(float(clip.last(Size(64, 32)).mean()) / 10) == 23


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no clip")
    with pytest.raises(FootageError):
        Footage(tmp_path / "text.mp4").last(Size(16, 16))


def test_a_playlist_opens_nothing_else(tmp_path: Path, clip: Footage) -> None:
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{clip.path}\n")
    with pytest.raises(FootageError):
        list(Footage(tmp_path / "list.mp4").frames(Size(16, 16), 1, 1))


def test_colours_come_back_as_they_went_in(tmp_path: Path) -> None:
    plan = Plan(
        model="testcard", prompt="", seconds=1, rendered=Size(64, 32), rendered_fps=1, delivered=Size(64, 32),
        fps=1, seed=1, steps=1, guidance=1.0,
    )  # fmt: skip
    colour = (200, 60, 30)
    frames_THWC = np.full((1, 32, 64, 3), colour, np.uint8)
    clip = Footage(encode([frames_THWC], plan, tmp_path, lambda _done, _total: None).video)
    assert np.abs(clip.last(Size(64, 32)).astype(int) - colour).max() <= 3
