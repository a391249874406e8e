"""What the denoiser is taught, and when: kinds of windows, their sizes and rates, and the odds of each over time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from engines.dit.windows import ANCHOR_STEP

Size = tuple[int, int]  # height, width in pixels
Kind = Literal["start", "later", "keyed", "between", "anchors"]

SMALL, LARGE = (80, 144), (144, 256)
WINDOW = 7  # latent frames: four seconds at 6 frames a second, two at 12
HALF = 4  # latent frames: twice as many clips for the same work
RATES = {6.0: 0.7, 12.0: 0.3}
ANCHORS = {1 / 4: 0.7, 1 / 2: 0.3}  # how many a second: as far apart as a window at 6 or at 12 frames a second is long
TOKENS = 4500  # of a batch
TOKEN = 16 * 16  # pixels

Odds = dict[tuple[Size, int], float]
PLAN: tuple[tuple[float, Odds], ...] = (  # until this share of the time: odds of sizes and lengths
    (0.15, {(LARGE, 1): 0.20, (SMALL, WINDOW): 0.65, (LARGE, WINDOW): 0.15}),
    (0.65, {(LARGE, 1): 0.26, (SMALL, WINDOW): 0.22, (LARGE, HALF): 0.28, (LARGE, WINDOW): 0.24}),
    (1.01, {(LARGE, 1): 0.18, (SMALL, WINDOW): 0.10, (LARGE, HALF): 0.26, (LARGE, WINDOW): 0.46}),
)
KINDS: dict[Kind, float] = {"start": 0.70, "later": 0.12, "keyed": 0.09, "between": 0.05, "anchors": 0.04}
SHAPES: dict[Size, dict[Size, float]] = {  # what a clip from its start may look like instead
    LARGE: {LARGE: 0.66, (256, 144): 0.18, (128, 224): 0.08, (224, 128): 0.08},
    SMALL: {SMALL: 0.75, (144, 80): 0.25},
}
TURNED: dict[Size, dict[Size, float]] = {  # and a clip of any other kind
    LARGE: {LARGE: 0.7, (256, 144): 0.3},
    SMALL: {SMALL: 0.7, (144, 80): 0.3},
}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step is about. `window` counts latent frames, those of references behind it included, keyframes not."""

    size: Size
    window: int = WINDOW
    kind: Kind = "start"
    fps: float = 12.0

    @property
    def rows(self) -> int:
        """Clips of a batch."""
        return max(3, min(48, TOKENS * TOKEN // (self.size[0] * self.size[1] * self.window)))

    @property
    def fresh(self) -> float:
        """New clips for each step; stills cost next to nothing."""
        return 8.0 if self.window == 1 else self.rows / 8

    @property
    def apart(self) -> float:
        """Latent frames of a clip at 12 frames a second between two anchors."""
        return ANCHOR_STEP / self.fps


def lesson_at(share: float, rng: Random) -> Lesson:
    """What to learn when `share` of the time is over."""
    size, window = _drawn(next(odds for until, odds in PLAN if share < until), rng)
    if window == 1:
        return Lesson(_drawn(SHAPES[size], rng), window)
    kind = _drawn(KINDS, rng)
    size = _drawn((SHAPES if kind == "start" else TURNED)[size], rng)
    return Lesson(size, window, kind, _drawn(ANCHORS if kind == "anchors" else RATES, rng))


def _drawn(odds: dict[Any, float], rng: Random) -> Any:
    return rng.choices(list(odds), weights=list(odds.values()))[0]
