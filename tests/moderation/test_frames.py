from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from PIL import Image

from domain.video import Plan, Size
from engines.encode import encode
from moderation.frames import NOT_CONFIGURED, NoClassifier, judge, load, sample
from moderation.policy import NO_SCORES
from tests.fixtures.classifiers import Redness

if TYPE_CHECKING:
    from pathlib import Path


def clip(folder: Path, colours: list[tuple[int, int, int]]) -> Path:
    """A clip of 24 frames a second, one colour a frame."""
    frames_THWC = np.zeros((len(colours), 64, 64, 3), np.uint8)
    frames_THWC[:] = np.array(colours, np.uint8)[:, None, None, :]
    size = Size(64, 64)
    plan = Plan("testcard", "colours", len(colours) // 24, size, 24, size, 24, seed=1, steps=1, guidance=1.0)
    return encode([frames_THWC], plan, folder, lambda _done, _total: None).video


GREY, RED = (128, 128, 128), (250, 0, 0)


def test_a_calm_clip_is_sampled_once_a_second_and_at_its_end(tmp_path: Path) -> None:
    assert [index for index, _ in sample(clip(tmp_path, [GREY] * 72))] == [0, 24, 48, 71]


def test_the_frame_after_a_cut_is_sampled(tmp_path: Path) -> None:
    video = clip(tmp_path, [GREY] * 30 + [RED] * 18)
    samples = dict(sample(video))
    assert list(samples) == [0, 24, 30, 47]
    assert samples[30].shape == (64, 64, 3)
    assert samples[30][..., 0].mean() > 200


def test_flicker_does_not_make_every_frame_a_sample(tmp_path: Path) -> None:
    video = clip(tmp_path, [(0, 0, 0), (255, 255, 255)] * 24)
    assert len(list(sample(video))) <= 2 * 4 + 3


def test_the_worst_sampled_frame_decides(tmp_path: Path) -> None:
    verdict = judge(clip(tmp_path, [GREY] * 30 + [RED] * 6 + [GREY] * 12), Redness())
    assert (verdict.action, verdict.reasons, verdict.model) == ("block", ("violence",), "redness 1")
    assert verdict.scores["violence"] > 0.9
    assert 30 in verdict.frames


def test_a_harmless_clip_is_allowed_with_its_scores(tmp_path: Path) -> None:
    verdict = judge(clip(tmp_path, [GREY] * 24), Redness())
    assert (verdict.action, verdict.frames) == ("allow", (0, 23))
    assert verdict.scores["violence"] < 0.1


def test_without_a_classifier_the_verdict_says_that_nobody_looked(tmp_path: Path) -> None:
    verdict = judge(tmp_path / "any.mp4")
    assert (verdict.action, verdict.model, verdict.frames) == ("allow", NOT_CONFIGURED, ())
    assert verdict.scores == NO_SCORES
    assert "no frame classifier configured" in verdict.model


def test_a_file_that_is_no_video_is_not_silently_allowed(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"nothing")
    with pytest.raises(av.FFmpegError):
        judge(path, Redness())


def test_a_picture_is_one_frame(tmp_path: Path) -> None:
    red = tmp_path / "red.png"
    Image.new("RGB", (64, 64), RED).save(red)
    assert [index for index, _ in sample(red)] == [0]
    verdict = judge(red, Redness())
    assert (verdict.action, verdict.frames) == ("block", (0,))


def test_a_classifier_is_named_by_module_and_callable() -> None:
    assert load("") is None
    assert isinstance(load("tests.fixtures.classifiers:Redness"), Redness)
    for named in ("tests.fixtures.classifiers", "tests.fixtures.none:X", "builtins:object", "os:getcwd"):
        with pytest.raises(NoClassifier):
            load(named)
