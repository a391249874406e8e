"""Pictures and frames, those that come in and those that go out: which are looked at, and the decision on them.

Kinema ships no image classifier. Without one, `judge` allows everything and says so in its verdict.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from moderation.policy import NO_SCORES, POLICY_VERSION, Action, decide

NOT_CONFIGURED = "none (no frame classifier configured)"
SCENE_CHANGE = 24.0  # mean difference of two small grey pictures, of 255
SMALL = 32  # pixels, edge of those pictures
CHANGES_PER_SECOND = 4
Frame = NDArray[np.uint8]  # frame_HWC, RGB


class FrameClassifier(Protocol):
    """What can be plugged in: looks at single frames."""

    @property
    def name(self) -> str:
        """Model and version, as it stands in stored verdicts."""
        ...

    def score(self, frame_HWC: Frame) -> Mapping[str, float]:
        """Scores from 0 to 1 by category; categories it knows nothing about may be left out."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on a clip. `frames` are the indices that were scored: none without a classifier."""

    action: Action
    model: str
    scores: Mapping[str, float]
    reasons: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    policy: str = POLICY_VERSION


class NoClassifier(Exception):
    """The setting names no classifier that can be loaded."""


def load(named: str) -> FrameClassifier | None:
    """What `module:callable` makes; None for an empty name. Raises NoClassifier: better no service than an unseen one.

    The name is the operator's, and so is the code behind it.
    """
    if not named:
        return None
    module, _, factory = named.partition(":")
    try:
        made: FrameClassifier = getattr(importlib.import_module(module), factory)()
    except Exception as error:  # somebody else's code: whatever keeps it from loading, nothing is let through
        raise NoClassifier(f"the frame classifier {named!r} cannot be loaded: {type(error).__name__}") from error
    if not callable(getattr(made, "score", None)) or not getattr(made, "name", ""):
        raise NoClassifier(f"{named!r} makes nothing with a name and a score")
    return made


def judge(file: Path, classifier: FrameClassifier | None = None) -> Verdict:
    """Decide on the clip or picture by its worst frame. Raises av.FFmpegError when the file cannot be decoded."""
    if classifier is None:
        return Verdict("allow", NOT_CONFIGURED, NO_SCORES)
    worst = dict(NO_SCORES)
    seen: list[int] = []
    for index, frame_HWC in sample(file):
        seen.append(index)
        for category, score in classifier.score(frame_HWC).items():
            worst[category] = max(worst[category], score)
    decision = decide((), worst)
    return Verdict(decision.action, classifier.name, decision.scores, decision.reasons, tuple(seen))


def sample(file: Path) -> Iterator[tuple[int, Frame]]:
    """Yield (index, frame) of the first frame, one a second, the frame after every cut, and the last.

    A picture is one frame. Cuts count at most four times a second, so that flicker does not make every frame a sample.
    """
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        rate = max(1, round(stream.average_rate or 1))
        taken, index, before, picture = -rate, -1, None, None
        for index, picture in enumerate(container.decode(stream)):
            small = picture.reformat(SMALL, SMALL, "gray").to_ndarray().astype(np.int16)
            changed = before is not None and float(np.abs(small - before).mean()) > SCENE_CHANGE
            before = small
            if index % rate == 0 or (changed and index - taken >= rate // CHANGES_PER_SECOND):
                taken = index
                yield index, _rgb(picture)
        if picture is not None and taken != index:
            yield index, _rgb(picture)


def _rgb(picture: av.VideoFrame) -> Frame:
    return picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
