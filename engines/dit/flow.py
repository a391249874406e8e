"""The noise: how training draws it, how sampling removes it.

A latent x becomes x_t = t x + (1 - t) e with e standard normal: t = 0 is noise, t = 1 is clean. The network predicts
x; its error is weighted as an error of the velocity x - e. A clip has many correlated numbers, so its colours and
layout are decided at very small t (the mean of n noisy numbers is clear already at t = 1 / sqrt(n)): training draws
most times there, and the sampler takes most of its steps there.

Legend: B clips, L latent frames, Z latent channels, h w latent positions.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from engines.dit.conditioning import Window
    from engines.dit.model import Transformer

SPREAD = 1.4  # deviation of the logit of t in training
SHIFT = 6.0  # of the sampler: how much its steps crowd towards t = 0, for FEW tokens
FEW = 315  # tokens
NEAREST = 0.3  # smallest 1 - t in the velocity weight: the sampler hardly visits later times


def draw_times(count: int, tokens: int, generator: torch.Generator) -> Tensor:
    """Times for a training batch: a logit-normal law, centred lower the more tokens a clip has; stratified."""
    centre = -1.8 - 0.5 * math.log(max(tokens, 196) / 196)
    quantile = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    return torch.sigmoid(centre + SPREAD * torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4)))


def loss_of(clean: Tensor, guess: Tensor, time_B: Tensor, weight: Tensor) -> Tensor:
    """Velocity loss of a prediction of x; `weight` says which latents count, and how much."""
    scale = (1 - time_B).clamp(min=NEAREST)[:, None, None, None, None]
    return (((guess - clean) / scale).square() * weight).sum() / (weight.expand_as(clean).sum() + 1e-6)


def schedule(steps: int, tokens: int = FEW, begin: float = 0.0) -> list[float]:
    """Times of the sampler from `begin` to 1, at most steps + 1 of them; more of them early where tokens are many."""
    shift = SHIFT * max(1.0, tokens / FEW) ** 0.5
    even = [index / steps for index in range(steps + 1)]
    times = [u / (u + shift * (1 - u)) for u in even]
    after = [time for time in times if time > begin]
    if begin > 0 and len(after) > 1 and after[0] - begin < (after[1] - after[0]) / 2:
        after = after[1:]  # what changes in the first step is carried on in the next: it may not be tiny
    return [begin, *after]


def sample(denoise: Callable[[Tensor, float], Tensor], state_BLZhw: Tensor, times: Sequence[float]) -> Tensor:
    """Walk from the state at times[0] (noise at 0) to clean latents in calls of `denoise(state, time) -> clean guess`.

    With s = -log(1 - t) the path obeys dx/ds = guess - x, which is solved exactly for a guess that changes linearly
    (second order: the change is carried on from the step before).
    """
    state, before, width = state_BLZhw, None, 1.0
    for now, then in itertools.pairwise(times):
        guess = denoise(state, now)
        if then == 1:
            return guess
        share, last = (1 - then) / (1 - now), width
        width = -math.log(share)
        change = 0.0 if before is None else (guess - before) / last * (width / (1 - share) - 1)
        state, before = share * state + (1 - share) * (guess + change), guess
    return state


@dataclass(frozen=True, slots=True)
class Guided:
    """A denoiser for `sample`: what to say, what is known of the window, and how strongly to follow the prompt.

    `text` holds the states of the prompt and, unless `guidance` is 1, of another text (empty, or a negative prompt);
    the guess for the prompt is pushed away from the guess for the other text.
    """

    model: Transformer
    text: tuple[Tensor, Tensor]
    window: Window  # of one clip
    guidance: float

    def __call__(self, state_1LZhw: Tensor, time: float) -> Tensor:
        """Guess the clean latents; known ones are returned as they are."""
        count = len(self.text[0])
        times_B = torch.full((count,), time, device=state_1LZhw.device)
        guesses = self.model(state_1LZhw.repeat(count, 1, 1, 1, 1), self.window.repeat(count), times_B, self.text)
        guess = guesses[:1] if count == 1 else guesses[1:] + self.guidance * (guesses[:1] - guesses[1:])
        return torch.where(self.window.mask_BLhw.unsqueeze(2) > 0, self.window.known_BLZhw, guess)


def noise_of(seed: int, window: int, frame: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise that depends on seed, window and latent frame alone: [1,1,Z,h,w] for shape (Z,h,w)."""
    mixed = (seed * 1_000_003 + window * 8191 + frame * 131) % 2**63
    generator = torch.Generator().manual_seed(mixed)
    return torch.randn(1, 1, *shape, generator=generator, dtype=torch.float32)
