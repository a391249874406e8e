"""Train the autoencoder: random windows of scenes and textures; latents at unit scale, with noise on them.

Legend: as in `codec`.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit.codec import Codec
from engines.dit.data import HELD_OUT, clip, draw_on, seconds, textures
from engines.dit.data.canvas import Canvas

BATCH = 8
WINDOW = (64, 80)  # pixels of a training window
SHORT_SIDES = (64, 80, 80, 128, 144, 144)
TEXTURES = 3  # of a batch
CUTS = 0.1  # share of the windows in which a shot ends
NOISE = 0.12  # largest deviation of the noise on the latents that the decoder must bear


def batch_at(step: int, rows: int = BATCH, frames: int = 9, device: str = "cpu") -> Tensor:
    """The training batch of a step, a function of the step alone: video_BTCHW in [0, 1]."""
    rng = Random(step)
    generator = torch.Generator(device).manual_seed(step)
    short = rng.choice(SHORT_SIDES)
    sizes = (short, short * 16 // 9 // 16 * 16)
    height, width = sizes if rng.random() < 0.6 else sizes[::-1]
    board = Canvas.at(seconds(frames, rng.choice((6, 12)), rng.uniform(0, 40)), height, width, device)
    tall, wide = min(WINDOW[0], height), min(WINDOW[1], width)
    board = board.crop(rng.randint(0, (height - tall) // 2) * 2, rng.randint(0, (width - wide) // 2) * 2, tall, wide)
    families = [rng.choice(("shapes", None)) for _ in range(rows - TEXTURES)]  # motion is what is hard
    scenes = draw_on(board, [clip(HELD_OUT + rng.randrange(2**40), family) for family in families])[0]
    return textures.cut(torch.cat([scenes, textures.render(board, TEXTURES, generator).clamp(0, 1)]), generator, CUTS)


def loss_of(codec: Codec, video_BTCHW: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Loss of a batch, and the mean squared error of its pixels. Updates the running scale of the latents."""
    raw = codec.encoder(video_BTCHW).float()
    if codec.training:
        follow(codec, raw.detach(), step)
    latents = codec.normalise(raw)
    strength = NOISE * torch.rand(len(latents), 1, 1, 1, 1, device=latents.device) if codec.training else 0.0
    restored = codec.decode_at_once(latents + strength * torch.randn_like(latents)).float()
    difference = restored - video_BTCHW
    pixels = functional.smooth_l1_loss(restored, video_BTCHW, beta=0.03)
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    along = (difference[:, 1:] - difference[:, :-1]).abs().mean()
    loss = pixels + 0.3 * (across + down) + 0.15 * along + 1e-4 * latents.square().mean()
    return loss, difference.detach().square().mean()


def follow(codec: Codec, raw_BLZhw: Tensor, step: int) -> None:
    """Let mean and deviation of the latents follow their running averages."""
    weight = max(0.01, 1 / (step + 1))
    mean, deviation = raw_BLZhw.mean((0, 1, 3, 4)), raw_BLZhw.std((0, 1, 3, 4))
    codec.mean.lerp_(mean, weight)
    codec.deviation.lerp_(deviation + 1e-3, weight)


def beginning(codec: Codec) -> None:
    """Start the codec from principal components of some windows of the commonest shape."""
    batches = (batch_at(-1 - step) for step in range(60))
    codec.begin(torch.cat([batch for batch in batches if batch.shape[-2:] == WINDOW][:24]))
