"""The pictures and clips that a plan names, fetched for the engine."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.video import Plan
from engines.footage import Footage
from engines.images import decode_image
from engines.protocol import Conditions
from worker.lease import Pulse
from worker.patience import insist
from worker.process import Process


def gather(process: Process, plan: Plan, folder: Path, pulse: Pulse) -> Conditions:
    """Pictures into memory, clips into `folder`. Raises NotFound or ImageError for what cannot be had."""

    def picture(key: str | None) -> NDArray[np.uint8] | None:
        return None if key is None else decode_image(insist(pulse, partial(process.store.read, key)))

    def clip(key: str, name: str) -> Footage:
        path = folder / f"{name}.mp4"
        insist(pulse, partial(process.store.fetch, key, path))
        return Footage(path)

    mask_HWC = picture(plan.mask)
    frames = ((frame.second, picture(frame.image)) for frame in plan.keyframes)
    return Conditions(
        first_frame_HWC=picture(plan.first_frame),
        last_frame_HWC=picture(plan.last_frame),
        keyframes=tuple((second, picture_HWC) for second, picture_HWC in frames if picture_HWC is not None),
        mask_HW=None if mask_HWC is None else mask_HWC.mean(axis=2).round().astype(np.uint8),
        references=tuple(picture(shot.reference) for shot in plan.shots),
        source=None if plan.source_clip is None else clip(plan.source_clip, "source"),
        characters=tuple(clip(key, f"character-{place}") for place, key in enumerate(plan.characters)),
    )
