"""Render: plan in, drafts in a private prefix out. Frames never leave this process."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from domain.errors import NotFound
from domain.lifecycle import State
from engines.encode import Drafts, encode
from engines.images import ImageError, decode_image
from engines.protocol import Conditions, Engine
from storage import outputs
from storage.outputs import Kind
from storage.schedule import Lease
from storage.videos import Video
from worker.lease import Pulse
from worker.outcome import Done, Failed, Lost, Outcome
from worker.patience import insist
from worker.pipeline import uploads
from worker.process import Process


def render(process: Process, lease: Lease, video: Video, pulse: Pulse) -> Outcome:
    """Load the model, denoise, decode and encode in one stream, store the drafts."""
    clock = _Clock()
    engine = process.engines.engine(video.plan.model)
    clock.lap("load")
    try:
        conditions = _conditions(process, video, pulse)
    except (NotFound, ImageError):
        return Failed("input_unreadable")
    with process.folder() as folder:
        drafts = _draw(engine, video, conditions, pulse, folder)
        clock.lap("draw")
        if not _upload(process, lease, drafts, pulse):
            return Lost()
        clock.lap("upload")
    return Done(State.RENDERED, timings={**clock.laps, "checkpoint": engine.checkpoint})


def _conditions(process: Process, video: Video, pulse: Pulse) -> Conditions:
    if video.plan.first_frame is None:
        return Conditions()
    image = insist(pulse, partial(process.store.read, video.plan.first_frame))
    return Conditions(first_frame_HWC=decode_image(image))


def _draw(engine: Engine, video: Video, conditions: Conditions, pulse: Pulse, folder: Path) -> Drafts:
    chunks = engine.render(video.plan, conditions, pulse.on_step)
    return encode(chunks, video.plan, folder, lambda done, total: pulse.advance("encode", done, total))


def _upload(process: Process, lease: Lease, drafts: Drafts, pulse: Pulse) -> bool:
    """False: the lease was lost."""
    files = {Kind.VIDEO: drafts.video, Kind.THUMBNAIL: drafts.thumbnail, Kind.SPRITESHEET: drafts.spritesheet}
    keys = outputs.drafts_of(lease, lease.fence)
    if not uploads.register(process, lease, pulse, "draft", keys):
        return False
    for kind, path in files.items():
        uploads.put(process, pulse, kind, keys[kind], path)
    return True


class _Clock:
    """Milliseconds of each part, for the timeline."""

    def __init__(self) -> None:
        self.laps: dict[str, int] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """What happened since the last lap was `name`."""
        now = time.monotonic()
        self.laps[f"{name}_ms"] = round((now - self._last) * 1000)
        self._last = now
