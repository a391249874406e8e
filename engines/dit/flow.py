"""The noise: how training draws it, how sampling removes it.

A latent x becomes x_t = t x + (1 - t) e with e standard normal: t = 0 is noise, t = 1 is clean. The network predicts
x; its error is weighted as an error of the velocity x - e. A clip has many correlated numbers, so its colours and
layout are decided at very small t (the mean of n noisy numbers is clear already at t = 1 / sqrt(n)): training draws
most times there, and the sampler takes most of its steps there. Outlines are decided later, between 0.05 and 0.3, where
the network is farthest from what could be known, so not all of the times may be the very early ones.

Legend: B clips, L latent frames, Z latent channels, h w latent positions.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from engines.dit import camera
from engines.dit.conditioning import STRONGEST, hurried

if TYPE_CHECKING:
    from engines.dit.conditioning import Window
    from engines.dit.model import Transformer

Number = TypeVar("Number", float, Tensor)

SPREAD = 1.2  # deviation of the logit of t in training
SHIFT = 6.0  # of the sampler: how much its steps crowd towards t = 0, for FEW tokens
FEW = 315  # tokens
SETTLED = 0.3  # until this time all that a moving camera shows of a place is made to agree
NEAREST = 0.3  # smallest 1 - t in the velocity weight: the sampler hardly visits later times


def draw_times(count: int, tokens: int, generator: torch.Generator) -> Tensor:
    """Times for a training batch: a logit-normal law, centred lower the more tokens a clip has; stratified."""
    centre = -1.3 - 0.5 * math.log(max(tokens, 196) / 196)
    quantile = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    return torch.sigmoid(centre + SPREAD * torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4)))


def loss_of(clean: Tensor, guess: Tensor, time_B: Tensor, weight: Tensor) -> Tensor:
    """Velocity loss of a prediction of x; `weight` says which latents count, and how much."""
    scale = (1 - time_B).clamp(min=NEAREST)[:, None, None, None, None]
    return (((guess - clean) / scale).square() * weight).sum() / (weight.expand_as(clean).sum() + 1e-6)


def shift_of(tokens: int) -> float:
    """How much the sampler's steps crowd towards t = 0."""
    return SHIFT * max(1.0, tokens / FEW) ** 0.5


def time_at(way: Number, tokens: int) -> Number:
    """The time when this part of the sampler's way, 0 to 1, is over: equal steps are equal parts of the way."""
    return way / (way + shift_of(tokens) * (1 - way))


def way_at(time: Number, tokens: int) -> Number:
    """The inverse of `time_at`."""
    return time / (time + (1 - time) / shift_of(tokens))


def schedule(steps: int, tokens: int = FEW, begin: float = 0.0) -> list[float]:
    """Times of the sampler from `begin` to 1, at most steps + 1 of them; more of them early where tokens are many."""
    times = [time_at(index / steps, tokens) for index in range(steps + 1)]
    after = [time for time in times if time > begin]
    if begin > 0 and len(after) > 1 and after[0] - begin < (after[1] - after[0]) / 2:
        after = after[1:]  # what changes in the first step is carried on in the next: it may not be tiny
    return [begin, *after]


Denoise = Callable[[Tensor, float, float], Tensor]  # state, its time, the time to go to -> guess of what is clean


def sample(denoise: Denoise, state_BLZhw: Tensor, times: Sequence[float], *, carries: bool = True) -> Tensor:
    """Walk from the state at times[0] (noise at 0) to clean latents.

    With s = -log(1 - t) the path obeys dx/ds = guess - x, which is solved exactly for a guess that changes linearly
    (second order: the change is carried on from the step before), or for one that is right for its whole step already
    (`carries` False).
    """
    state, before, width = state_BLZhw, None, 1.0
    for now, then in itertools.pairwise(times):
        guess = denoise(state, now, then)
        if then == 1:
            return guess
        share, last = (1 - then) / (1 - now), width
        width = -math.log(share)
        change = 0.0 if before is None or not carries else (guess - before) / last * (width / (1 - share) - 1)
        state, before = share * state + (1 - share) * (guess + change), guess
    return state


@dataclass(frozen=True, slots=True)
class Guided:
    """A denoiser for `sample`: what to say, what is known of the window, and how strongly to follow the prompt.

    `text` holds the states of the prompt and, unless `guidance` is 1, of another text (empty, or a negative prompt);
    the guess for the prompt is pushed away from the guess for the other text and no style.
    """

    model: Transformer
    text: tuple[Tensor, Tensor]
    window: Window  # of one clip
    guidance: float

    def __call__(self, state_1LZhw: Tensor, time: float, _then: float) -> Tensor:
        """Guess the clean latents; known ones are returned as they are."""
        count = len(self.text[0])
        times_B = torch.full((count,), time, device=state_1LZhw.device)
        window = self.window if count == 1 else self.window.and_plain()
        guesses = self.model(state_1LZhw.repeat(count, 1, 1, 1, 1), window, times_B, self.text)
        guess = guesses[:1] if count == 1 else guesses[1:] + self.guidance * (guesses[:1] - guesses[1:])
        return concluded(self.window, guess, time)


@dataclass(frozen=True, slots=True)
class Distilled:
    """A denoiser for `sample` that was taught guidance and strides: one forward a step, and nothing to carry on."""

    model: Transformer
    text: tuple[Tensor, Tensor]  # of the prompt alone
    window: Window  # of one clip
    guidance: float

    def __call__(self, state_1LZhw: Tensor, time: float, then: float) -> Tensor:
        """Guess which clean latents lead to the right state at `then`; known ones are returned as they are."""
        tokens = state_1LZhw[0, :, 0].numel() // 4
        guidance = min(max(self.guidance, 1.0), STRONGEST)
        time_B, then_B, guidance_B = (torch.tensor([number]) for number in (time, then, guidance))
        told = hurried(self.window, guidance_B, way_at(then_B, tokens) - way_at(time_B, tokens))
        guess = self.model(state_1LZhw, told, time_B.to(state_1LZhw.device), self.text)
        return concluded(self.window, guess, time)


def concluded(window: Window, guess_1LZhw: Tensor, time: float) -> Tensor:
    """The guess with what is known as it is known; early on, its latent frames agree about what a camera shows."""
    if time < SETTLED and window.films:
        guess_1LZhw = camera.agreed(guess_1LZhw[0], window.view_BLV[0], window.at_BL[0])[None]
    return window.kept(guess_1LZhw)


def noise_of(seed: int, window: int, frame: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise that depends on seed, window and latent frame alone: [1,1,Z,h,w] for shape (Z,h,w)."""
    mixed = (seed * 1_000_003 + window * 8191 + frame * 131) % 2**63
    generator = torch.Generator().manual_seed(mixed)
    return torch.randn(1, 1, *shape, generator=generator, dtype=torch.float32)
