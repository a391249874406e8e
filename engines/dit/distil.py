"""Distillation: a student learns to answer once where its teacher is asked twice, and to take longer steps.

Guidance (Meng et al. 2023): the student is told how strongly to follow the prompt and learns what the guided teacher
says. Strides (shortcut models, Frans et al. 2024, here for guesses of clean latents): it is told how far the sampler
goes, and learns the one guess that leads where two guesses over half the way lead; those of the shortest strides are
its teacher's, those of longer ones its own.

Legend: B clips, N words, G letter groups of a word, L latent frames, Z latent channels, h w latent positions.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engines.dit import flow
from engines.dit.conditioning import STRONGEST, Window, hurried
from engines.dit.model import Transformer
from engines.dit.train_transformer import Batch

STEPS = {0: 0.5, 8: 0.25, 4: 0.25}  # how many steps the stride of a batch belongs to, and the odds; 0: none at all
INSTANT = 8  # steps whose halves are the teacher's

Guess = Callable[[Tensor, Tensor, Tensor], Tensor]  # state, its time_B, the time to go to -> clean latents


@dataclass(frozen=True, slots=True)
class Question:
    """What the student is asked: states of the clips at a time, where to go from there, and how it is guided."""

    window: Window
    rows_BNG: Tensor
    noisy_BLZhw: Tensor
    time_B: Tensor
    then_B: Tensor  # the time itself where there is no stride
    guidance_B: Tensor

    @property
    def tokens(self) -> int:
        """Of one clip."""
        return self.noisy_BLZhw[0, :, 0].numel() // 4

    def told(self, time_B: Tensor, then_B: Tensor) -> Window:
        """The window with what a student is told about a stride."""
        stride_B = flow.way_at(then_B, self.tokens) - flow.way_at(time_B, self.tokens)
        return hurried(self.window, self.guidance_B, stride_B)


def loss_of(student: Transformer, teacher: Transformer, batch: Batch, generator: torch.Generator) -> Tensor:
    """Velocity loss of the student's guess against what its teacher, or it itself over half the way, leads to."""
    drawn = torch.multinomial(torch.tensor(list(STEPS.values())), 1, generator=generator)
    steps = list(STEPS)[int(drawn)]
    asked = question(batch, steps, generator)
    device = asked.noisy_BLZhw.device.type
    with torch.autocast(device, torch.bfloat16):
        with torch.no_grad():
            wanted = answer(asked, steps, student, teacher)
        told = asked.told(asked.time_B, asked.then_B)
        guess = student(asked.noisy_BLZhw, told, asked.time_B, student.text(asked.rows_BNG))
    unknown_BL1hw = 1 - asked.window.mask_BLhw.unsqueeze(2)
    return flow.loss_of(wanted, guess, asked.time_B, batch.weight_BL1hw * unknown_BL1hw)


def question(batch: Batch, steps: int, generator: torch.Generator) -> Question:
    """Times where the sampler will be, or for no stride those of training; guidance from 1 to the strongest."""
    clean, count = batch.clean_BLZhw, len(batch.clean_BLZhw)
    tokens = clean[0, :, 0].numel() // 4
    if steps == 0:
        time_B = then_B = flow.draw_times(count, tokens, generator)
    else:
        way_B = torch.rand(count, generator=generator) * (1 - 1 / steps)
        time_B, then_B = flow.time_at(way_B, tokens), flow.time_at(way_B + 1 / steps, tokens)
    guidance_B = torch.exp(torch.rand(count, generator=generator) * math.log(STRONGEST))
    time_B, then_B, guidance_B = (each.to(clean.device) for each in (time_B, then_B, guidance_B))
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    noisy = _wide(time_B) * clean + (1 - _wide(time_B)) * noise
    window = replace(batch.window, known_BLZhw=batch.window.mask_BLhw.unsqueeze(2) * clean)
    return Question(window, batch.rows_BNG, noisy, time_B, then_B, guidance_B)


def answer(asked: Question, steps: int, student: Transformer, teacher: Transformer) -> Tensor:
    """The clean latents that the student should guess."""
    taught = guided(teacher, asked)
    if steps == 0:
        return taught(asked.noisy_BLZhw, asked.time_B, asked.then_B)
    halves = taught if steps == INSTANT else hurrying(student, asked)
    way_B = (flow.way_at(asked.time_B, asked.tokens) + flow.way_at(asked.then_B, asked.tokens)) / 2
    middle_B = flow.time_at(way_B, asked.tokens)
    first = halves(asked.noisy_BLZhw, asked.time_B, middle_B)
    share = _wide((1 - middle_B) / (1 - asked.time_B))
    second = halves(share * asked.noisy_BLZhw + (1 - share) * first, middle_B, asked.then_B)
    return joined(first, second, share, _wide((1 - asked.then_B).clamp(min=0) / (1 - middle_B)))


def joined(first: Tensor, second: Tensor, share: Tensor, share_after: Tensor) -> Tensor:
    """The one guess for both steps, of which each keeps its share of the state: x' = share x + (1 - share) guess."""
    return (share_after * (1 - share) * first + (1 - share_after) * second) / (1 - share * share_after)


def guided(teacher: Transformer, asked: Question) -> Guess:
    """What the teacher says under guidance; a stride is nothing to it."""
    nothing = torch.zeros_like(asked.rows_BNG)
    text = teacher.text(torch.cat([asked.rows_BNG, nothing]))
    window, strength = asked.window.and_plain(), _wide(asked.guidance_B)

    def guess(state: Tensor, time_B: Tensor, _then_B: Tensor) -> Tensor:
        meant, free = teacher(state.repeat(2, 1, 1, 1, 1), window, time_B.repeat(2), text).chunk(2)
        return asked.window.kept(free + strength * (meant - free))

    return guess


def hurrying(student: Transformer, asked: Question) -> Guess:
    """What the student says about strides."""
    text = student.text(asked.rows_BNG)

    def guess(state: Tensor, time_B: Tensor, then_B: Tensor) -> Tensor:
        return asked.window.kept(student(state, asked.told(time_B, then_B), time_B, text))

    return guess


def _wide(numbers_B: Tensor) -> Tensor:
    return numbers_B[:, None, None, None, None]
