"""The source of an edit as it is sent."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from domain.video import Operation
from engines.encode import encode
from engines.footage import Footage
from engines.protocol import Conditions
from engines.upstream import clips
from tests.engines.upstream.driving import PLAN

EDIT = replace(PLAN, operation=Operation.EDIT, source_clip="key", source_seconds=2.0)


@pytest.fixture
def noise(tmp_path: Path) -> Conditions:
    drawn_THWC = np.random.default_rng(1).integers(0, 256, (PLAN.rendered_frames, 64, 96, 3), np.uint8)
    return Conditions(source=Footage(encode(iter([drawn_THWC]), PLAN, tmp_path, lambda *_: None).video))


def sent(conditions: Conditions) -> tuple[int, int]:
    """Bytes and frames."""
    file = io.BytesIO(b"what was there before" * 100_000)
    assert clips.write(EDIT, conditions, file, lambda: None)
    size = len(file.getvalue())
    with av.open(file) as container:
        return size, sum(1 for _ in container.decode(video=0))


def test_a_source_that_is_too_long_is_sent_worse_and_whole(
    noise: Conditions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, frames = sent(noise)
    assert frames == PLAN.rendered_frames
    assert not caplog.records, "nothing is lost without need"
    monkeypatch.setattr(clips, "MOST_BYTES", whole // 3)
    with caplog.at_level(logging.WARNING):
        smaller, frames = sent(noise)
    assert frames == PLAN.rendered_frames
    assert whole // 12 < smaller <= whole // 3, "no worse than it takes"
    assert "sent with losses" in caplog.text
    monkeypatch.setattr(clips, "MOST_BYTES", 1)
    assert sent(noise)[1] == PLAN.rendered_frames, "there is an end to it"
