"""The denoiser: a diffusion transformer over space and time at once.

It sees a window of L latent frames. Each token is a patch of 2 x 2 latent positions of one frame and carries three
things: the noisy latents, the latents that are already known (zero elsewhere), and whether they are known. So text to
video, image to video and going on with a clip are one task with different masks. It answers with the clean latents.

Legend: B clips, L latent frames, Z latent channels, h w latent positions, S tokens of one frame (h/2 * w/2),
K = L * S tokens, D width, N words, E features of one head.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.dit.config import Config
from engines.dit.text import TextEncoder

PATCH = 2
SPAN = 10.0  # the short side of a picture in units of rotary position
WAVES = 6  # frequencies of the absolute position features


@dataclass(frozen=True, slots=True)
class Place:
    """Where the tokens of a window are: rotary angles for the heads, and features for the first layer."""

    cosine_KE: Tensor
    sine_KE: Tensor
    features_LSF: Tensor


def place_of(start: int, latents: int, height: int, width: int, head: int) -> Place:
    """Places of `latents` latent frames of h x w positions, the first of which is number `start` of its clip.

    Positions are centred and measured in short sides, so they mean the same at every size.
    """
    rows, columns = height // PATCH, width // PATCH
    short = min(rows, columns)
    y = (torch.arange(rows) - (rows - 1) / 2) / short
    x = (torch.arange(columns) - (columns - 1) / 2) / short
    t = torch.arange(start, start + latents).float()
    t, y, x = (part.flatten() for part in torch.meshgrid(t, y, x, indexing="ij"))
    turns = (head // 2 - 2 * (head // 6), head // 6, head // 6)  # pairs of features for time, height, width
    angles = [
        position[:, None] * 30.0 ** -(torch.arange(count) / count)
        for position, count in zip((t, y * SPAN, x * SPAN), turns, strict=True)
    ]
    angle_KE = torch.cat(angles, dim=1)
    half_y, half_x = rows / short / 2, columns / short / 2
    scalars = torch.stack([y, x, y / half_y, x / half_x, t / 8], dim=1)
    waves = (scalars[..., None] * 2.0 ** torch.arange(WAVES) * 1.5).flatten(1)
    constant = torch.tensor([half_y, half_x, 4 / short, float(start == 0)]).expand(len(t), -1)
    features = torch.cat([waves.sin(), waves.cos(), constant], dim=1)
    return Place(angle_KE.cos(), angle_KE.sin(), features.unflatten(0, (latents, -1)))


def rotate(x_BHKE: Tensor, place: Place) -> Tensor:
    """Turn pairs of features (first half, second half) by the angle of the token's place."""
    a, b = x_BHKE.chunk(2, -1)
    cosine, sine = place.cosine_KE.to(x_BHKE.dtype), place.sine_KE.to(x_BHKE.dtype)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)


def unit(x: Tensor) -> Tensor:
    """Root-mean-square norm over the last dimension."""
    return functional.rms_norm(x, (x.shape[-1],))


def modulate(x_BLSD: Tensor, shift_BL1D: Tensor, scale_BL1D: Tensor) -> Tensor:
    """Norm, then the scale and shift that the time and the prompt ask for."""
    return unit(x_BLSD) * (1 + scale_BL1D) + shift_BL1D


class Block(nn.Module):
    """Attention over all tokens, attention to the words, and a perceptron."""

    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.mix = nn.Linear(width, 3 * width, bias=False)
        self.leave = nn.Linear(width, width)
        self.ask = nn.Linear(width, width, bias=False)
        self.answer = nn.Linear(text_width, 2 * width, bias=False)
        self.leave_text = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.table = nn.Parameter(torch.randn(6, width) * 0.02)
        for last in (self.leave, self.leave_text, self.narrow):
            nn.init.zeros_(last.weight)

    def split(self, x: Tensor) -> Tensor:
        """[B,K,D] -> [B,heads,K,E]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x_BLSD: Tensor, control_BL6D: Tensor, words_BND: Tensor, bias: Tensor, place: Place) -> Tensor:
        """[B,L,S,D] -> the same."""
        shape = x_BLSD.shape
        shift, scale, gate, shift2, scale2, gate2 = (control_BL6D + self.table).unsqueeze(2).unbind(3)
        q, k, v = (self.split(part) for part in self.mix(modulate(x_BLSD, shift, scale).flatten(1, 2)).chunk(3, -1))
        seen = functional.scaled_dot_product_attention(rotate(unit(q), place), rotate(unit(k), place), v)
        x_BLSD = x_BLSD + (1 + gate) * self.leave(seen.transpose(1, 2).flatten(2)).view(shape)
        q = self.split(self.ask(unit(x_BLSD).flatten(1, 2)))
        k, v = (self.split(part) for part in self.answer(words_BND).chunk(2, -1))
        read = functional.scaled_dot_product_attention(unit(q), unit(k), v, attn_mask=bias.to(q.dtype))
        x_BLSD = x_BLSD + self.leave_text(read.transpose(1, 2).flatten(2)).view(shape)
        return x_BLSD + (1 + gate2) * self.narrow(
            functional.gelu(self.widen(modulate(x_BLSD, shift2, scale2)), approximate="tanh")
        )


class Transformer(nn.Module):
    """The whole denoiser with its text encoder; about 4M + 0.8M parameters."""

    def __init__(self, config: Config, rows: int) -> None:
        super().__init__()
        width, self.head = config.transformer.width, config.transformer.width // config.transformer.heads
        channels = config.codec.channels * PATCH * PATCH
        self.text = TextEncoder(rows, config.text)
        self.enter = nn.Linear(2 * channels + 1, width)
        self.place = nn.Linear(5 * WAVES * 2 + 4, width)
        self.clock = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.summary = nn.Linear(config.text.width, width)
        self.control = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(
            Block(width, config.transformer.heads, config.text.width) for _ in range(config.transformer.depth)
        )
        self.control_out = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, channels)
        for last in (self.control, self.control_out, self.leave):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self,
        noisy_BLZhw: Tensor,
        known_BLZhw: Tensor,
        mask_BL: Tensor,
        time_B: Tensor,
        text: tuple[Tensor, Tensor],
        *,
        start: int = 0,
    ) -> Tensor:
        """Clean latents x_BLZhw. `mask` is 1 where latents are known; `time` runs from 0 (noise) to 1 (clean)."""
        words_BND, bias = text
        height, width = noisy_BLZhw.shape[-2:]
        place = place_of(start, noisy_BLZhw.shape[1], height, width, self.head)
        hidden = (1 - mask_BL)[:, :, None, None, None]
        marks = mask_BL[:, :, None, None].expand(-1, -1, height * width // PATCH**2, 1)
        tokens = [to_tokens(noisy_BLZhw * hidden), to_tokens(known_BLZhw), marks.to(noisy_BLZhw.dtype)]
        x_BLSD = self.enter(torch.cat(tokens, dim=-1)) + self.place(place.features_LSF)
        time_BL = torch.where(mask_BL > 0, torch.ones_like(mask_BL), time_B[:, None])
        condition_BLD = functional.silu(self.clock(wave(time_BL)) + self.summary(words_BND[:, :1]))
        control_BL6D = self.control(condition_BLD).unflatten(-1, (6, -1))
        for block in self.blocks:
            x_BLSD = block(x_BLSD, control_BL6D, words_BND, bias, place)
        shift, scale = self.control_out(condition_BLD).unsqueeze(2).chunk(2, -1)
        return from_tokens(self.leave(modulate(x_BLSD, shift, scale)), height, width).float()


def wave(time: Tensor) -> Tensor:
    """Times in [0, 1] -> 64 features; logarithms spread the early times, where most is decided."""
    logit = torch.log((time + 1e-3) / (1 - time + 1e-3)) / 7
    angles = torch.stack([time, logit], -1)[..., None] * 2.0 ** torch.linspace(-1, 5, 16)
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)


def to_tokens(x_BLZhw: Tensor) -> Tensor:
    """[B,L,Z,h,w] -> [B,L,S,4Z]."""
    patches = functional.pixel_unshuffle(x_BLZhw.flatten(0, 1), PATCH)
    return patches.flatten(2).transpose(1, 2).unflatten(0, x_BLZhw.shape[:2])


def from_tokens(x_BLSF: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_tokens`."""
    patches = x_BLSF.flatten(0, 1).transpose(1, 2).unflatten(-1, (height // PATCH, width // PATCH))
    return functional.pixel_shuffle(patches, PATCH).unflatten(0, x_BLSF.shape[:2])
