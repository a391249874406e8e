"""A far end as an engine: ask, watch, fetch, and leave nothing of ours behind."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from domain.upstream import Dialect, FarEnd
from domain.video import Plan
from engines.protocol import Conditions, OnStep, Step, Unrenderable
from engines.upstream import clips
from engines.upstream.dialects import Wanted, wanted
from engines.upstream.reading import Found, frames
from engines.upstream.watch import Watch
from engines.upstream.wire import BLOCKED, FarEndAway, FarEndFailed, Forgotten, Job, Wire, jittered

log = logging.getLogger(__name__)

FIRST_PAUSE, MOST_PAUSE = 0.5, 3.0  # seconds between two looks
ENDS = frozenset({"failed", "error", "cancelled", "canceled", "expired", "deleted"})
NO_CONTENT_TRIES = 3  # of a video that is completed and whose file is not there yet
_PACE_MEMORY = 0.7  # of the old average, when another render has been timed


class UpstreamEngine:
    """Draws nothing itself. The same seed gives the same bytes if the far end holds to that."""

    def __init__(self, far_end: FarEnd, key: str = "", scratch: Path | None = None) -> None:
        self._far_end = far_end
        self._scratch = scratch
        self._key = key
        self._paces: dict[tuple[object, ...], float] = {}
        self._drew: dict[str, str] = {}

    @classmethod
    def load(cls, far_end: FarEnd, scratch: Path | None = None) -> UpstreamEngine:
        """With the key that the environment or a file holds. Raises ValueError if it is named and not there."""
        return cls(far_end, key_of(far_end), scratch)

    @property
    def checkpoint(self) -> str:
        """The weights are elsewhere, and nobody vouches for them here."""
        return ""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Who was asked, how, and what it drew last, whatever it was asked for."""
        return {"far_end": self._far_end.url, "dialect": str(self._far_end.dialect), **self._drew}

    def render(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Iterator[NDArray[np.uint8]]:
        """Yield chunks of frames_THWC; see `engines.protocol.Engine.render`. Also raises FarEndAway and FarEndFailed.

        Whatever ends it, the far end is told to stop and to remove the video. Its file lies on disk without a name,
        so that it is gone with the process at the latest.
        """
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            self._draw(plan, conditions, on_step, file)
            done = 0
            for chunk_THWC in frames(file, plan, self._far_end.missing_frames, self._note):
                done += len(chunk_THWC)
                on_step(Step("decode", done, plan.rendered_frames))
                yield chunk_THWC

    def _note(self, found: Found) -> None:
        self._drew = {"drew": f"{found.size} at {found.rate}"}

    def _draw(self, plan: Plan, conditions: Conditions, on_step: OnStep, file: IO[bytes]) -> None:
        """The far end's file for this plan. A far end that forgets the video is asked a second time, and no third."""
        shape = (plan.rendered, plan.rendered_frames, plan.steps)
        watch = Watch(on_step, plan.steps, self._paces.get(shape))
        with Wire(self._far_end, self._key) as wire, tempfile.TemporaryFile(dir=self._scratch) as source:
            clip = source if clips.write(plan, conditions, source, watch.sign) else None
            errand = _Errand(wire, watch, file, self._far_end)
            for ticket in (conditions.ticket, f"{conditions.ticket}-again" if conditions.ticket else ""):
                try:
                    errand.run(wanted(plan, conditions, self._far_end, ticket, clip), ticket)
                except Forgotten as error:
                    log.warning("the far end has forgotten a video", extra={"reason": str(error)})
                    continue
                before = self._paces.get(shape, watch.worked)
                self._paces[shape] = _PACE_MEMORY * before + (1 - _PACE_MEMORY) * watch.worked
                return
        raise FarEndFailed("the far end forgot the video twice")


class _Errand:
    """One video at the far end, from the create to its file."""

    def __init__(self, wire: Wire, watch: Watch, file: IO[bytes], far_end: FarEnd) -> None:
        self._wire = wire
        self._watch = watch
        self._file = file
        self._far_end = far_end
        self._give_up_at = time.monotonic() + far_end.timeout_seconds

    def run(self, asked: Wanted, ticket: str) -> None:
        """Fill the file. Raises FarEndFailed, FarEndAway, Forgotten, Unrenderable, and what watching raises."""
        self._watch.begin()
        job = self._wire.create(asked, ticket, self._watch.rest)
        try:
            self._wait(job)
            self._fetch(job.id)
        finally:
            self._wire.remove(job.id)

    def _wait(self, job: Job) -> None:
        pause = FIRST_PAUSE
        while job.status != "completed":
            if job.status in ENDS:
                raise self._end(job)
            if time.monotonic() > self._give_up_at:
                raise FarEndFailed(f"no result within {self._far_end.timeout_seconds:g} s")
            self._watch.saw(job)
            self._watch.rest(jittered(pause))
            job = self._wire.look(job.id, self._watch.rest)
            pause = min(1.3 * pause, MOST_PAUSE)

    def _end(self, job: Job) -> Exception:
        reason = self._wire.clean(f"the far end says {job.status} {job.code}: {job.message}")
        if job.code in BLOCKED:
            return Unrenderable(reason, "moderation_blocked")
        if self._far_end.dialect is Dialect.KINEMA:
            return Unrenderable(reason)  # it has tried several times itself; ours would multiply them
        return FarEndFailed(reason)

    def _fetch(self, video_id: str) -> None:
        """The file of a completed video, which some far ends write a moment after they say so."""
        for _ in range(NO_CONTENT_TRIES):
            try:
                left = self._give_up_at - time.monotonic()
                self._wire.fetch(video_id, self._file, self._watch.sign, self._watch.rest, left)
            except Forgotten:
                self._watch.rest(FIRST_PAUSE)
                self._wire.look(video_id, self._watch.rest)  # really forgotten?
            else:
                return
        raise FarEndAway("the far end has no file of a completed video")


def key_of(far_end: FarEnd) -> str:
    """The API key, or nothing where none is named. Raises ValueError that names what is missing, never the key."""
    if far_end.key_env:
        key = os.environ.get(far_end.key_env, "").strip()
    elif far_end.key_file:
        path = Path(far_end.key_file)
        key = path.read_text().strip() if path.is_file() else ""
    else:
        return ""
    if not key:
        raise ValueError(f"{far_end.url}: {far_end.key_env or far_end.key_file} holds no key")
    return key
