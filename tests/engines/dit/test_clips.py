"""A folder becomes training data, or says everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domain.video import Size
from engines.dit import clips
from engines.dit.clips import BadClips
from tests.engines.dit.footage import LOOK, write_clip

LYING, UPRIGHT = Size(64, 48), Size(48, 64)


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, wider than any size of the model."""
    path = tmp_path_factory.mktemp("shot") / "shot.mp4"
    write_clip(path, Size(128, 32), fps=24, seconds=2)
    return path


def copy(shot: Path, folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(shot.read_bytes())


def test_captions_stand_beside_the_clip_or_in_one_file_of_the_folder(shot: Path, tmp_path: Path) -> None:
    copy(shot, tmp_path, "a.mp4", "b.mp4", "c.MP4")
    (tmp_path / "a.txt").write_text("  the sea\n at night ")
    (tmp_path / "captions.csv").write_text('file,caption\na.mp4,not this\nb.mp4,"a lake, and firs"\n')
    (tmp_path / "captions.jsonl").write_text('{"file": "c.mp4", "caption": "snow"}\n\n')
    found = clips.find(tmp_path)
    assert [clip.caption for clip in found] == ["the sea at night", "a lake, and firs", "snow"]
    assert {(clip.size, round(clip.seconds)) for clip in found} == {(Size(128, 32), 2)}


def test_everything_that_is_wrong_is_said_at_once(shot: Path, tmp_path: Path) -> None:
    copy(shot, tmp_path, "fine.mp4", "mute.mp4")
    (tmp_path / "fine.txt").write_text("fine")
    (tmp_path / "mute.txt").write_text(" \n")
    (tmp_path / "torn.mp4").write_bytes(shot.read_bytes()[:200])
    (tmp_path / "torn.txt").write_text("torn")
    (tmp_path / "odd.mp4").write_bytes(shot.read_bytes())
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "captions.csv").write_text("file,caption\ngone.mp4,away\n")
    with pytest.raises(BadClips) as caught:
        clips.find(tmp_path)
    said = str(caught.value).splitlines()[1:]
    assert said[:1] == ["mute.mp4: no caption, neither in mute.txt nor in captions.csv or captions.jsonl"]
    assert said[1:] == ["odd.mp4: odd.txt is not UTF-8", "torn.mp4: no readable clip", "gone: captioned, and not there"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("captions.csv", "clip;text\na;b\n", "columns file and caption"),
        ("captions.jsonl", '{"file": "a.mp4"}\n', "line 1"),
        ("captions.jsonl", "[1, 2]\n", "line 1"),
        ("captions.jsonl", '\n{"file": "a.mp4", "caption": null}\n', "line 2"),
        ("captions.jsonl", '{"file": ' * 100_000, "line 1"),
        (
            "captions.csv",
            "file,caption\na.mp4,a red ball, rolling\n",
            "line 2 has not 2 columns; .* comma needs quotes",
        ),
        ("captions.csv", "file,caption\na.mp4,a red ball\nb.mp4\n", "line 3 has not 2 columns"),
        ("captions.csv", "caption,file\na red ball\n", "line 2 has not 2 columns"),
        ("captions.csv", f"file,caption\na.mp4,{'z' * 200_000}\n", "line 2 cannot be read: field larger"),
        ("captions.csv", f"file,{'z' * 200_000}\n", "line 1 cannot be read: field larger"),
        ("captions.csv", 'file,caption\na.mp4,"a red ball\nb.mp4,a lake\n', "line 3 cannot be read: unexpected end"),
    ],
)
def test_a_table_of_captions_that_is_none_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadClips, match=said):
        clips.find(tmp_path)


def test_a_caption_may_have_lines_and_whatever_else_is_not_the_end_of_a_row(shot: Path, tmp_path: Path) -> None:
    copy(shot, tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    rows = 'file,caption\r\na.mp4,"a red\r\nball"\r\n\r\nb.mp4,"a\u2028lake"\r\n'
    (tmp_path / "captions.csv").write_bytes(rows.encode())
    lines = '{"file": "c.mp4", "caption": "deep\u2028snow"}\r\n{"file": "d.mp4", "caption": "a\x85fir"}'
    (tmp_path / "captions.jsonl").write_bytes(lines.encode())
    assert [clip.caption for clip in clips.find(tmp_path)] == ["a red ball", "a lake", "deep snow", "a fir"]


def test_a_clip_that_is_too_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "blink.mp4", LYING)
    (tmp_path / "blink.txt").write_text("blink")
    assert len(clips.find(tmp_path)) == 1
    monkeypatch.setattr(clips, "SHORTEST", 1.5)
    with pytest.raises(BadClips, match=r"blink.mp4: too short: 1 s, and 1.5 s is the least"):
        clips.find(tmp_path)


def test_no_folder_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadClips, match="no folder"):
        clips.find(tmp_path / "nowhere")
    with pytest.raises(BadClips, match="holds no clips"):
        clips.find(tmp_path)


def test_pieces_are_cut_to_the_shape_and_have_whole_latent_frames(shot: Path) -> None:
    clip = clips._looked_at(shot, "")
    cut = list(clips.pieces(clip, LYING, 12, 13))
    assert [piece.shape for piece in cut] == [(13, 48, 64, 3)], "11 frames are left, less than a second"
    cut = list(clips.pieces(clip, LYING, 24, 25))
    assert [piece.shape for piece in cut] == [(25, 48, 64, 3)]
    cut = list(clips.pieces(clip, LYING, 8, 9))
    assert [len(piece) for piece in cut] == [9]
    cut = list(clips.pieces(clip, LYING, 12, 49))
    assert [len(piece) for piece in cut] == [21], "24 frames are there; 21 are whole latent frames"
    assert np.abs(cut[0][:, 40:].astype(int) - LOOK).max() < 40, "the ground, where no square ever is"


def test_the_nearest_shape_is_taken() -> None:
    assert clips.nearest(Size(1920, 1080), (LYING, UPRIGHT)) == LYING
    assert clips.nearest(Size(480, 640), (LYING, UPRIGHT)) == UPRIGHT
    assert clips.cover(Size(100, 100), LYING) == Size(64, 64)
    assert clips.cover(Size(1000, 100), LYING) == Size(480, 48)
