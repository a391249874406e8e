"""Small clips on disk for adapters to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from domain.video import Plan, Size
from engines.encode import encode

LOOK = np.array([250, 40, 200], np.uint8)  # no ground that the renderer draws


def write_clip(path: Path, size: Size, *, fps: int = 12, seconds: int = 1, number: int = 0) -> None:
    """A grey square that wanders over a ground of a loud colour."""
    plan = Plan(
        model="testcard", prompt="", seconds=seconds, rendered=size, rendered_fps=fps, delivered=size, fps=fps, seed=1,
        steps=1, guidance=1.0,
    )  # fmt: skip
    frames_THWC = np.empty((plan.rendered_frames, size.height, size.width, 3), np.uint8)
    frames_THWC[:] = LOOK
    for index, frame_HWC in enumerate(frames_THWC):
        left = (8 * number + 2 * index) % (size.width - 8)
        frame_HWC[4:16, left : left + 8] = 60 + 20 * number
    scratch = path.parent / f"{path.stem}-drafts"
    scratch.mkdir()
    encode([frames_THWC], plan, scratch, lambda _done, _total: None).video.replace(path)
    for left_over in scratch.iterdir():
        left_over.unlink()
    scratch.rmdir()


def write_folder(folder: Path, count: int, size: Size) -> Path:
    """Clips of one second, each with its caption beside it."""
    folder.mkdir()
    for number in range(count):
        write_clip(folder / f"clip-{number}.mp4", size, number=number)
        (folder / f"clip-{number}.txt").write_text("a red ball rolls right\n")
    return folder
