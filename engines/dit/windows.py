"""Which windows a stretch of frames becomes: how many latent frames each draws, what it knows, where that stands.

Numbers only: no pixels, no weights. A stretch is a part of the clip without a cut. It opens with a picture that is a
latent frame of its own, or goes on with a clip whose last latent frames are known.

There are two ways to draw a stretch that is longer than one window. In a stream, each window goes on from the last
latent frames of the window before, with the stretch's first picture beside them, so that it does not drift. In a
chain, pictures some seconds apart (anchors) are drawn together first; then each gap between two of them is filled.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass

from engines.dit.conditioning import FPS, PACE

HISTORY = 2  # most latent frames that a window knows of the window before
STILLS = 2  # most pictures that training has put beside one window
FARTHEST = -16.0  # the earliest moment at which training has put a picture
ANCHOR_SECONDS = 4  # most between two anchors
ANCHOR_STEP = FPS / PACE  # latent frames of a second at the rate by which training counts the moments of anchors


def longest(window: int) -> int:
    """Frames of one window that opens with a picture."""
    return 1 + PACE * (window - 1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """So many frames. `opens`: the first of them is a latent frame alone; else all are in fours, after a clip."""

    frames: int
    opens: bool = True

    @property
    def latents(self) -> int:
        """Latent frames that hold all frames."""
        return -(-(self.frames + 3 * self.opens) // PACE)

    def latent(self, frame: int) -> int:
        """The latent frame that holds a frame."""
        return (frame + 3 * self.opens) // PACE

    def moment(self, frame: int) -> float:
        """Where the picture of a frame stands, counted in latent frames."""
        return 0.0 if self.opens and frame == 0 else (frame + 3 * self.opens) / PACE

    def middle(self, latent: int) -> float:
        """The frame in the middle of a latent frame; between two of them where that is no whole number."""
        return 0.0 if self.opens and latent == 0 else PACE * latent - 3 * self.opens + (PACE - 1) / 2

    @property
    def reference(self) -> int:
        """The frame whose picture later windows have beside them: the first one, or one just before the history."""
        return 0 if self.opens else -1 - HISTORY * PACE

    @property
    def reference_moment(self) -> float:
        """Where that picture stands. What comes before a window, training has counted from the window's beginning."""
        return 0.0 if self.opens else -1.0 - HISTORY


@dataclass(frozen=True, slots=True)
class Span:
    """One window: `history` known latent frames, `new` ones of which latent `begin` is the first, then pictures.

    A window that goes on with a clip has no more latent frames, a picture beside it included, than one that begins.
    """

    begin: int
    new: int
    history: int
    stills: tuple[int, ...]  # frames whose pictures are given, appended in this order
    reference: bool  # whether the stretch's first picture is appended
    start: int  # the moment of its first latent frame, in its own count: 0 only where a clip begins

    @property
    def length(self) -> int:
        """Latent frames in all."""
        return self.history + self.new + len(self.stills) + self.reference

    def at(self, moment: float) -> float:
        """A moment of the stretch in the window's own count."""
        return max(FARTHEST, moment - (self.begin - self.history) + self.start)


def spans(stretch: Stretch, pictures: Collection[int], window: int) -> tuple[Span, ...]:
    """The windows of a stream, of about equal length; one of several ends at a picture where it can.

    `pictures` are the frames that are given; the one that opens the stretch is no still but its first latent frame.
    """
    keyed = sorted(frame for frame in pictures if frame > 0 or not stretch.opens)
    found: list[Span] = []
    begin = 0
    while begin < stretch.latents:
        ahead = [stretch.latent(frame) + 1 - begin for frame in keyed if stretch.latent(frame) >= begin]
        there = begin + HISTORY * (not stretch.opens)  # latent frames before this window
        most = window - 1 if there else window
        new = _new(stretch.latents - begin, ahead, most - min(there, 1), window - 2)
        history = min(there, HISTORY, most - new)
        stills = tuple(frame for frame in keyed if begin <= stretch.latent(frame) < begin + new)
        start = 0 if stretch.opens and begin == history else 1
        found.append(Span(begin, new, history, stills, start > 0 and not stills, start))
        begin += new
    return tuple(found)


def _new(left: int, ahead: list[int], room: int, later: int) -> int:
    """How many latent frames a window draws: all that is left, up to a picture, or its share of several windows."""
    if left <= room and len(ahead) <= STILLS:
        return left
    if within := [end for end in ahead[:STILLS] if end <= room]:
        return within[-1]
    goal = ahead[0] if ahead else left
    return -(-goal // (1 + -(-(goal - room) // later)))


@dataclass(frozen=True, slots=True)
class Chain:
    """`anchors` are frames; the last may lie behind the end. Each of `groups` is drawn together and shares one."""

    anchors: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]


def chain(frames: int, pictures: Collection[int], window: int, fps: int) -> Chain:
    """Anchors at every given picture and between, no farther apart than a window or `ANCHOR_SECONDS`."""
    step = min(PACE * (window - 1), ANCHOR_SECONDS * fps)
    anchors = [0]
    for frame in sorted({*pictures} - {0}):
        pieces = -(-(frame - anchors[-1]) // step)
        begin, width = anchors[-1], frame - anchors[-1]
        anchors += [begin + piece * width // pieces for piece in range(1, pieces + 1)]
    while anchors[-1] < frames - 1:
        anchors.append(anchors[-1] + step)
    count = -(-(len(anchors) - 1) // (window - 1))
    edges = [index * (len(anchors) - 1) // count for index in range(count + 1)]
    return Chain(tuple(anchors), tuple(tuple(anchors[a : b + 1]) for a, b in itertools.pairwise(edges)))


def anchor_moment(frames: int, fps: int) -> float:
    """Where an anchor stands that lies so many frames behind the first of its group, as training has counted."""
    return frames / fps * ANCHOR_STEP
