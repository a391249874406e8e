"""What came with a request, looked at before anything is rendered from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath

from domain.video import Plan
from moderation import frames
from moderation.frames import Verdict
from worker.lease import Pulse
from worker.patience import insist
from worker.process import Process


def keys(plan: Plan) -> tuple[str, ...]:
    """Every picture and clip that the plan takes in, each once."""
    pictures = [plan.first_frame, plan.last_frame, plan.mask]
    pictures += [frame.image for frame in plan.keyframes] + [shot.reference for shot in plan.shots]
    named = [*pictures, plan.source_clip, *plan.characters]
    return tuple(dict.fromkeys(key for key in named if key is not None))


def judge(process: Process, plan: Plan, pulse: Pulse) -> Sequence[Verdict]:
    """One verdict for each of them. Without a classifier nothing is fetched, and the verdicts say so.

    Raises NotFound for one that is gone, Interrupted, and whatever the decoder or the classifier raises.
    """
    wanted = keys(plan)
    verdicts: list[Verdict] = []
    with process.folder() as folder:
        for number, key in enumerate(wanted):
            path = folder / f"input{number}{PurePosixPath(key).suffix}"
            if process.frame_classifier is not None:
                insist(pulse, partial(process.store.fetch, key, path))
            verdicts.append(frames.judge(path, process.frame_classifier))
            path.unlink(missing_ok=True)
            pulse.advance("screen", number + 1, len(wanted))
    return verdicts
