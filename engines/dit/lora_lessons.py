"""What an adapter learns from: pieces of captioned clips, encoded once, and the loss on some of them.

Legend: as in `model`; T frames, C colours, H W pixels.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from domain.video import Size
from engines.dit import clips, flow
from engines.dit.checkpoint import Checkpoint
from engines.dit.clips import CaptionedClip
from engines.dit.conditioning import Window, controls
from engines.dit.model import Transformer
from engines.dit.text import Vocabulary
from engines.dit.train_transformer import slip

HELD_OUT_EVERY = 8  # clips
FEWEST_TO_HOLD_OUT = 4  # clips
TOKENS = 3200  # of a batch
MOST = 32  # pieces of a batch
STILLS = 0.4  # share of lessons on first frames alone, where colours and layout are learned cheaply
FIRST_FRAME = 0.25  # share of lessons in which it is known


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a clip, encoded."""

    latents_LZhw: Tensor
    words: list[str]


@dataclass(frozen=True, slots=True)
class Material:
    """Encoded clips to learn from, by shape, and those that are only measured."""

    learned: dict[tuple[int, ...], list[Piece]]
    held_out: list[Piece]


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pieces of one shape with what is said of them, and for which of them the first frame is known."""

    clean_BLZhw: Tensor
    words: list[list[str]]
    first_B: list[bool]
    fps: int


def material_of(found: Sequence[CaptionedClip], base: Checkpoint, *, fps: int, trigger: str) -> Material:
    """Read, cut and encode every clip. Raises BadClips."""
    config = base.config.transformer
    longest = 1 + 4 * (config.window - 1)
    learned: dict[tuple[int, ...], list[Piece]] = defaultdict(list)
    held_out: list[Piece] = []
    for number, clip in enumerate(found):
        words = base.vocabulary.split(f"{trigger} {clip.caption}")
        size = clips.nearest(clip.size, sizes(config.short_side))
        for frames_THWC in clips.pieces(clip, size, fps, longest):
            piece = Piece(_encoded(base, torch.from_numpy(frames_THWC)), words)
            if len(found) >= FEWEST_TO_HOLD_OUT and number % HELD_OUT_EVERY == HELD_OUT_EVERY // 2 - 1:
                held_out.append(piece)
            else:
                learned[tuple(piece.latents_LZhw.shape)].append(piece)
    return Material(learned, held_out)


def lesson_of(material: Material, fps: int, rng: Random) -> Lesson:
    """Some pieces of one shape, or first frames alone; captions with slips and gaps, as the base learned them."""
    shape = rng.choices(list(material.learned), [len(shelf) for shelf in material.learned.values()])[0]
    length = 1 if rng.random() < STILLS else shape[0]
    chosen = rng.choices(material.learned[shape], k=max(2, min(MOST, TOKENS // tokens_of((length, *shape[1:])))))
    words = [slip(piece.words, rng) for piece in chosen]
    first_B = [length > 1 and rng.random() < FIRST_FRAME for _ in chosen]
    return Lesson(torch.stack([piece.latents_LZhw[:length] for piece in chosen]), words, first_B, fps)


def sizes(short_side: int) -> tuple[Size, Size]:
    """Lying and upright, 16 to 9 as near as multiples of 16 allow."""
    long_side = round(short_side * 16 / 9 / 16) * 16
    return Size(long_side, short_side), Size(short_side, long_side)


@torch.no_grad()
def _encoded(base: Checkpoint, frames_THWC: Tensor) -> Tensor:
    device = next(base.codec.parameters()).device
    video_BTCHW = frames_THWC.to(device).permute(0, 3, 1, 2)[None].float() / 255
    with torch.autocast(device.type, torch.bfloat16):
        return base.codec.encode(video_BTCHW)[0].float().cpu()


def loss_of(model: Transformer, vocabulary: Vocabulary, lesson: Lesson, generator: torch.Generator) -> Tensor:
    """Velocity loss of what is not known; the text encoder gets no gradient."""
    device, clean = next(model.parameters()).device, lesson.clean_BLZhw
    time_B = flow.draw_times(len(clean), tokens_of(clean.shape[1:]), generator)
    times = time_B[:, None, None, None, None]
    noisy = times * clean + (1 - times) * torch.randn(clean.shape, generator=generator)
    window = Window.of(clean.shape[1:], controls(float(lesson.fps))).repeat(len(clean))
    known_B = torch.tensor(lesson.first_B).float()
    window.mask_BLhw[:, 0] = known_B[:, None, None]
    window.known_BLZhw[:, 0] = known_B[:, None, None, None] * clean[:, 0]
    weight = 1 - window.mask_BLhw.unsqueeze(2)
    with torch.autocast(device.type, torch.bfloat16):
        with torch.no_grad():
            text = model.text(vocabulary.encode(lesson.words).to(device))
        guess = model(noisy.to(device), window.to(device), time_B.to(device), text)
    return flow.loss_of(clean.to(device), guess, time_B.to(device), weight.to(device))


def tokens_of(shape_LZhw: Sequence[int]) -> int:
    """Tokens of a piece."""
    return shape_LZhw[0] * shape_LZhw[2] * shape_LZhw[3] // 4
