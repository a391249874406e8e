"""Render: plan in, drafts in a private prefix out. Frames never leave this process."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from domain.errors import NotFound
from domain.lifecycle import State
from domain.video import Plan
from engines.encode import Drafts, Encoding, pull
from engines.footage import FootageError
from engines.images import ImageError
from engines.protocol import Conditions, Engine, Telling, Unrenderable
from storage import outputs
from storage.lifecycle import GPU_MS, note_gpu_time
from storage.outages import OUTAGES
from storage.outputs import Kind
from storage.schedule import Lease
from storage.videos import Video
from worker.lease import Pulse
from worker.outcome import Done, Failed, Lost, Outcome
from worker.pipeline import uploads
from worker.pipeline.conditions import gather
from worker.pipeline.tail import Parts
from worker.process import Process

log = logging.getLogger(__name__)


def render(process: Process, lease: Lease, video: Video, pulse: Pulse) -> Parts[Outcome]:
    """Load the model, denoise, decode and encode in one stream, store the drafts.

    It yields when the last frame is decoded: what follows needs no GPU, and another thread may do it.
    """
    clock = _Clock()
    engine = process.engines.engine(video.plan.model)
    clock.lap("load")
    with process.folder() as folder:
        try:
            conditions = gather(process, video.plan, folder, pulse)
            conditions = replace(conditions, ticket=f"{video.id.hex}-{lease.fence}")
            encoding = _draw(engine, video.plan, conditions, pulse, folder)
            clock.lap("draw")
            facts = {**_facts(engine), GPU_MS: sum(clock.laps.values())}  # now: the engine's next render has others
            pulse.drawn()
            del engine, conditions  # the next video's model may need their room
            yield
            _free_gpu(process, lease, facts[GPU_MS])
            drafts = encoding.finish()
        except (NotFound, ImageError, FootageError):
            return Failed("input_unreadable")
        except Unrenderable as refusal:
            log.warning("no attempt can render this", extra={"code": refusal.code, "reason": str(refusal)})
            return Failed(refusal.code)
        clock.lap("encode")
        if not _upload(process, lease, drafts, pulse):
            return Lost()
        clock.lap("upload")
    return Done(State.RENDERED, timings={**clock.laps, **facts})


def _facts(engine: Engine) -> dict[str, Any]:
    told = {"engine": dict(engine.facts)} if isinstance(engine, Telling) else {}
    return {"checkpoint": engine.checkpoint, **told}


def _draw(engine: Engine, plan: Plan, conditions: Conditions, pulse: Pulse, folder: Path) -> Encoding:
    chunks = engine.render(plan, conditions, pulse.on_step)
    return pull(
        chunks, plan, folder, lambda done, total: pulse.advance("encode", done, total), source=conditions.source
    )


def _free_gpu(process: Process, lease: Lease, gpu_ms: int) -> None:
    """From here on the attempt costs its tenant nothing. Where that cannot be written, only its success will say so."""
    with suppress(*OUTAGES), process.database.transaction(lease.tenant_id) as connection:
        note_gpu_time(connection, lease, gpu_ms)


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
