"""What becomes of a far end's file."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from domain.video import Size
from engines.protocol import Unrenderable
from engines.testcard import bars
from engines.upstream.wire import FarEndFailed
from tests.engines.upstream.driving import PLAN, TICKET, engine, render
from tests.engines.upstream.far_end import far_end


def test_the_pictures_are_those_that_the_far_end_drew() -> None:
    with far_end() as server:
        frames, _ = render(engine(server))
    card = bars(PLAN.rendered, PLAN.seed).astype(int)
    off = np.abs(frames[0].astype(int) - card)
    assert np.median(off[:10]) <= 4, "colours survive the way there and back"


def test_a_reader_that_leaves_early_leaves_nothing(tmp_path: Path) -> None:
    with far_end() as server:
        chunks = engine(server, tmp_path).render(PLAN, TICKET, lambda _: None)
        next(chunks)
        chunks.close()
        assert server.jobs == {}
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_clip_is_a_failed_attempt(tmp_path: Path) -> None:
    with far_end() as server:
        server.wrong.content = [lambda handler: handler.send(200, {}, b"<html>" * 100)]
        with pytest.raises(FarEndFailed, match="cannot be read"):
            render(engine(server, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_long_is_not_read_to_its_end() -> None:
    with far_end() as server:
        server.wrong.content = [lambda handler: handler.send(200, {}, bytes(3_000_000))]
        with pytest.raises(Unrenderable, match="more than 1000000 bytes"):
            render(engine(server, most_bytes=1_000_000))


def test_another_size_is_scaled_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with far_end() as server:
        server.wrong.size = Size(192, 128)
        made = engine(server)
        frames, _ = render(made)
    assert frames.shape == (16, 64, 96, 3)
    assert made.facts == {"far_end": server.url, "dialect": "vllm-omni", "drew": "192x128 at 8"}
    told = [record for record in caplog.records if record.message == "the far end drew otherwise"]
    assert [(record.asked, record.drew) for record in told] == [("96x64 at 8", "192x128 at 8")]


def test_another_rate_changes_no_speed() -> None:
    with far_end() as server:
        server.wrong.fps, server.wrong.frames = 16, 32
        twice, _ = render(engine(server))
        server.wrong.fps, server.wrong.frames = 4, 8
        half, _ = render(engine(server))
    assert len(twice) == len(half) == 16
    changes = [bool((np.abs(half[n].astype(int) - half[n - 1]) > 60).any()) for n in range(1, 16)]
    assert changes == [n % 2 == 0 for n in range(1, 16)], "each of the eight pictures is shown twice"


@pytest.mark.parametrize(("allowed", "enough"), [(0, False), (3, True)])
def test_missing_frames_are_an_error_unless_the_operator_allows_them(allowed: int, *, enough: bool) -> None:
    with far_end() as server:
        server.wrong.frames = 13
        made = engine(server, missing_frames=allowed)
        if not enough:
            with pytest.raises(Unrenderable, match="13 of 16"):
                render(made)
            return
        frames, _ = render(made)
    assert len(frames) == 16
    assert (frames[12:] == frames[12]).all()
