"""Train the denoiser: a pool of encoded clips for each size, masks for the tasks, captions with slips and gaps.

Rendering and encoding a clip costs about as much as learning from it once, so clips are kept in a pool and used a few
times, each time with another caption slip, mask and noise. Legend: as in `model`.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit import flow
from engines.dit.codec import Codec
from engines.dit.config import TextConfig
from engines.dit.data import HELD_OUT, clip, draw
from engines.dit.model import Transformer
from engines.dit.text import Vocabulary

Size = tuple[int, int]  # height, width in pixels

WINDOW = 7  # latent frames of a clip
POOL = 6000  # clips of one size
OBJECT = 4.0  # extra weight of the object that matters
SMALL, MIDDLE = (64, 112), (80, 144)
PLAN: tuple[tuple[float, dict[tuple[Size, int], float]], ...] = (  # until this share of the time: odds of lessons
    (0.25, {(MIDDLE, 1): 0.55, (SMALL, WINDOW): 0.45}),
    (0.60, {(MIDDLE, 1): 0.25, (SMALL, WINDOW): 0.45, (MIDDLE, WINDOW): 0.30}),
    (1.01, {(MIDDLE, 1): 0.12, (SMALL, WINDOW): 0.23, (MIDDLE, WINDOW): 0.65}),
)
PORTRAIT = 0.3  # share of upright lessons
LATER = 0.15  # share of the lessons on clips that go on with one
TOKENS = 3200  # of a batch: a step takes about a second on one thread


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step is about: pictures or clips, and their size."""

    size: Size
    window: int  # latent frames; 1 = still pictures, where colours and layout are learned cheaply
    later: bool = False  # whether the window goes on with a clip that began before it

    @property
    def rows(self) -> int:
        """Clips of a batch."""
        return max(4, min(64, TOKENS * 256 // (self.size[0] * self.size[1] * self.window)))

    @property
    def frames(self) -> int:
        """Frames to render for a clip of the pool; a later window needs one latent frame before it."""
        return 1 + 4 * (self.window - 1 + self.later)

    @property
    def fresh(self) -> int:
        """New clips for each step; stills cost next to nothing."""
        return 16 if self.window == 1 else max(1, self.rows // 8)


@dataclass(slots=True)
class Pool:
    """Encoded clips of one size."""

    latents: list[Tensor]  # [L,Z,h,w] bfloat16
    weights: list[Tensor]  # [L,h,w] bfloat16, the loss weight
    captions: list[str]
    turn: int = 0

    def add(self, latents: Tensor, weights: Tensor, caption: str) -> None:
        """Keep a clip; the oldest one leaves a full pool."""
        if len(self.captions) < POOL:
            self.latents.append(latents)
            self.weights.append(weights)
            self.captions.append(caption)
            return
        self.latents[self.turn], self.weights[self.turn], self.captions[self.turn] = latents, weights, caption
        self.turn = (self.turn + 1) % POOL


@torch.no_grad()
def fill(pool: Pool, codec: Codec, lesson: Lesson, count: int, rng: Random) -> None:
    """Render and encode `count` new clips."""
    clips = [clip(HELD_OUT + rng.randrange(2**40)) for _ in range(count)]
    start = rng.uniform(0, 8) if lesson.later else 0.0
    video_BTCHW, mask_BTHW = draw(clips, lesson.frames, *lesson.size, start=start)
    with torch.autocast("cpu", torch.bfloat16):
        latents_BLZhw = codec.encode(video_BTCHW).bfloat16()
    groups = torch.cat([mask_BTHW[:, :1].expand(-1, 3, -1, -1), mask_BTHW], 1)
    weight_BLhw = 1 + OBJECT * functional.avg_pool3d(groups, (4, 8, 8)).sqrt()
    for index, one in enumerate(clips):
        pool.add(latents_BLZhw[index].clone(), weight_BLhw[index].bfloat16(), one.caption)


def slip(words: Sequence[str], rng: Random) -> list[str]:
    """A caption as it may be mistyped: nothing at all (for guidance), lost words, words nobody knows."""
    if rng.random() < 0.1:
        return []
    if rng.random() < 0.5:
        return list(words)
    kept = [word for word in words if rng.random() > 0.06]
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [word if rng.random() > 0.05 else "".join(rng.choices(letters, k=rng.randint(3, 9))) for word in kept]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    clean_BLZhw: Tensor
    weight_BL1hw: Tensor
    mask_BL: Tensor
    rows_BNG: Tensor
    start: int


def batch_of(pool: Pool, vocabulary: Vocabulary, lesson: Lesson, rng: Random) -> Batch:
    """Draw clips and tasks: from text alone, from the first frame, or going on with a clip."""
    count, window, start = lesson.rows, lesson.window, int(lesson.later)
    rows = [rng.randrange(len(pool.captions)) for _ in range(count)]
    part = slice(start, start + window)
    clean = torch.stack([pool.latents[row][part] for row in rows]).float()
    weight = torch.stack([pool.weights[row][part] for row in rows]).float()
    mask_BL = torch.zeros(count, window)
    for index in range(count):
        if start:
            mask_BL[index, : rng.choice((1, 1, 1, 2))] = 1
        elif window > 1 and rng.random() < 0.25:
            mask_BL[index, :1] = 1
    rows_BNG = vocabulary.encode([slip(vocabulary.split(pool.captions[row]), rng) for row in rows])
    rows_BNG = functional.pad(
        rows_BNG, (0, 0, 0, vocabulary.config.length - rows_BNG.shape[1])
    )  # one shape: compiled once
    return Batch(clean, weight.unsqueeze(2), mask_BL, rows_BNG, start)


def loss_of(model: Transformer, batch: Batch, generator: torch.Generator) -> Tensor:
    """Velocity loss of the latents that are not known."""
    clean, mask = batch.clean_BLZhw, batch.mask_BL[:, :, None, None, None]
    time_B = flow.draw_times(len(clean), clean.shape[1] * clean.shape[3] * clean.shape[4] // 4, generator)
    noise = torch.randn(clean.shape, generator=generator)
    times = time_B[:, None, None, None, None]
    noisy = times * clean + (1 - times) * noise
    worn = 0.1 * torch.rand(len(clean), 1, 1, 1, 1, generator=generator) * batch.start  # own results are not perfect
    known = mask * (clean + worn * torch.randn(clean.shape, generator=generator))
    with torch.autocast("cpu", torch.bfloat16):
        guess = model(noisy, known, batch.mask_BL, time_B, model.text(batch.rows_BNG), start=batch.start)
    return flow.loss_of(clean, guess, time_B, batch.weight_BL1hw * (1 - mask))


def lesson_at(share: float, rng: Random) -> Lesson:
    """What to learn when `share` of the time is over."""
    odds = next(odds for until, odds in PLAN if share < until)
    (height, width), window = rng.choices(list(odds), weights=list(odds.values()))[0]
    size = (width, height) if rng.random() < PORTRAIT else (height, width)
    return Lesson(size, window, later=window > 1 and rng.random() < LATER)


def words_of_grammar(config: TextConfig, captions: int = 20_000) -> list[str]:
    """The vocabulary: every word that the captions use."""
    split = Vocabulary((), config).split
    return sorted({word for seed in range(captions) for word in split(clip(HELD_OUT + seed).caption)})
