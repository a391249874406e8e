"""The denoiser: a diffusion transformer over space and time at once.

It sees a window of L latent frames. Each token is a patch of 2 x 2 latent positions of one frame and carries three
things: the noisy latents, the latents that are already known (zero elsewhere), and which of them are known. So every
task is the same task with another mask (see `conditioning`). It answers with the clean latents.

Legend: B clips, L latent frames, Z latent channels, h w latent positions, S tokens of one frame (h/2 * w/2; 1 where
all tokens of a frame agree), K = L * S tokens, D width, N words (or heads of all clips), E features of one
head, F features of a place, V numbers of a view.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.dit.camera import centred
from engines.dit.conditioning import HURRIED, Window
from engines.dit.config import Config
from engines.dit.text import TextEncoder

PATCH = 2
SPAN = 10.0  # the short side of a picture in units of rotary position
WAVES = 6  # frequencies of the absolute position features


@dataclass(frozen=True, slots=True)
class Place:
    """Where the tokens of a window are: rotary angles for the heads, and features for the first layer."""

    cosine_B1KE: Tensor
    sine_B1KE: Tensor
    features_BLSF: Tensor
    rows: int  # of tokens


def place_of(window: Window, height: int, width: int, head: int) -> Place:
    """Places of a window's latent frames of h x w positions.

    Positions are centred and measured in short sides, so they mean the same at every size. They are those of the scene
    that the camera shows: attention finds what stands still at the same place however the camera moves. Features tell
    those on the screen, too.
    """
    at_BL, still_BL = window.at_BL, window.still_BL
    rows, columns = height // PATCH, width // PATCH
    short, device = min(rows, columns), at_BL.device
    x, y = (centred(side, short).to(device) for side in (columns, rows))
    y_S, x_S = (part.flatten() for part in torch.meshgrid(y, x, indexing="ij"))
    shape_BLS = (*at_BL.shape, len(y_S))
    pan_BL1, zoom_BL1 = window.view_BLV.unsqueeze(2).unbind(-1)
    shrink_BL1 = torch.exp(-zoom_BL1)
    t_BLS, y_BLS, x_BLS = at_BL.float()[..., None].expand(shape_BLS), y_S * shrink_BL1, x_S * shrink_BL1 + pan_BL1
    turns = (head // 2 - 2 * (head // 6), head // 6, head // 6)  # pairs of features for time, height, width
    angles = [
        position[..., None] * 30.0 ** -(torch.arange(count, device=device) / count)
        for position, count in zip((t_BLS, y_BLS * SPAN, x_BLS * SPAN), turns, strict=True)
    ]
    angle_B1KE = torch.cat(angles, dim=-1).flatten(1, 2).unsqueeze(1)
    half_y, half_x = rows / short / 2, columns / short / 2
    scalars = torch.stack(
        [y_BLS, x_BLS, (y_S / half_y).expand(shape_BLS), (x_S / half_x).expand(shape_BLS), t_BLS / 8], dim=-1
    )
    waves = (scalars[..., None] * 2.0 ** torch.arange(WAVES, device=device) * 1.5).flatten(-2)
    shape = torch.tensor([half_y, half_x, 4 / short], device=device).expand(*shape_BLS, -1)
    kind = torch.stack([still_BL[:, :1].expand_as(still_BL), still_BL], dim=-1)[:, :, None].expand(*shape_BLS, -1)
    features = torch.cat([waves.sin(), waves.cos(), shape, kind], dim=-1)
    return Place(angle_B1KE.cos(), angle_B1KE.sin(), features, rows)


def rotate(x_BHKE: Tensor, place: Place) -> Tensor:
    """Turn pairs of features (first half, second half) by the angle of the token's place."""
    a, b = x_BHKE.chunk(2, -1)
    cosine, sine = place.cosine_B1KE.to(x_BHKE.dtype), place.sine_B1KE.to(x_BHKE.dtype)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)


def unit(x: Tensor) -> Tensor:
    """Root-mean-square norm over the last dimension."""
    return functional.rms_norm(x, (x.shape[-1],))


def attend(q_BHKE: Tensor, k_BHKE: Tensor, v_BHKE: Tensor) -> Tensor:
    """Attention of all tokens to all. On a processor head by head: what one head needs fits into its cache."""
    if q_BHKE.device.type != "cpu":
        return functional.scaled_dot_product_attention(q_BHKE, k_BHKE, v_BHKE)
    q_NKE, k_NKE, v_NKE = (x.flatten(0, 1) for x in (q_BHKE * q_BHKE.shape[-1] ** -0.5, k_BHKE, v_BHKE))
    heads = (torch.softmax(q_KE @ k_KE.T, -1) @ v_KE for q_KE, k_KE, v_KE in zip(q_NKE, k_NKE, v_NKE, strict=True))
    return torch.stack(list(heads)).view(q_BHKE.shape)


def modulate(x_BLSD: Tensor, shift_BLSD: Tensor, scale_BLSD: Tensor) -> Tensor:
    """Norm, then the scale and shift that the time and the prompt ask for."""
    return unit(x_BLSD) * (1 + scale_BLSD) + shift_BLSD


class Neighbours(nn.Module):
    """What the eight tokens around a token say: one small convolution for each feature, then a mix of the features.

    Outlines run over the edges of tokens, and attention is slow to learn that. After Mix-FFN (SegFormer, Xie et al.
    2021; SANA, Xie et al. 2024), beside the perceptron instead of inside, where it costs a quarter.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.mix = nn.Linear(width, width)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x_BLSD: Tensor, rows: int) -> Tensor:
        """What to add to the tokens."""
        x_NDhw = x_BLSD.flatten(0, 1).transpose(1, 2).unflatten(2, (rows, -1)).contiguous()
        return self.mix(self.look(x_NDhw).flatten(2).transpose(1, 2)).view(x_BLSD.shape)


class Block(nn.Module):
    """A look at the neighbours, attention over all tokens, attention to the words, and a perceptron."""

    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.near = Neighbours(width)
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

    def forward(self, x_BLSD: Tensor, control_BLS6D: Tensor, words_BND: Tensor, bias: Tensor, place: Place) -> Tensor:
        """[B,L,S,D] -> the same."""
        shape = x_BLSD.shape
        x_BLSD = x_BLSD + self.near(unit(x_BLSD), place.rows)
        shift, scale, gate, shift2, scale2, gate2 = (control_BLS6D + self.table).unbind(3)
        q, k, v = (self.split(part) for part in self.mix(modulate(x_BLSD, shift, scale).flatten(1, 2)).chunk(3, -1))
        seen = attend(rotate(unit(q), place), rotate(unit(k), place), v)
        x_BLSD = x_BLSD + (1 + gate) * self.leave(seen.transpose(1, 2).flatten(2)).view(shape)
        q = self.split(self.ask(unit(x_BLSD).flatten(1, 2)))
        k, v = (self.split(part) for part in self.answer(words_BND).chunk(2, -1))
        read = functional.scaled_dot_product_attention(unit(q), unit(k), v, attn_mask=bias.to(q.dtype))
        x_BLSD = x_BLSD + self.leave_text(read.transpose(1, 2).flatten(2)).view(shape)
        return x_BLSD + (1 + gate2) * self.narrow(functional.gelu(self.widen(modulate(x_BLSD, shift2, scale2))))


class Finish(nn.Module):
    """Two small convolutions over each latent frame of a guess: tokens end at the edges of patches, pictures do not.

    After U-ViT (Bao et al. 2023), which ends with one; here they see the noisy latents and the time, too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * channels + 1, 4 * channels, 3, padding=1)
        self.second = nn.Conv2d(4 * channels, channels, 3, padding=1)
        for start in self.second.parameters():
            nn.init.zeros_(start)

    def forward(self, guess_BLZhw: Tensor, seen_BLZhw: Tensor, time_B: Tensor) -> Tensor:
        """A better guess."""
        clock_BL1hw = time_B[:, None, None, None, None].expand_as(guess_BLZhw[:, :, :1])
        x = torch.cat([guess_BLZhw, seen_BLZhw, clock_BL1hw], dim=2).flatten(0, 1)
        change = self.second(functional.silu(self.first(x)))
        return guess_BLZhw + change.unflatten(0, guess_BLZhw.shape[:2])


class Transformer(nn.Module):
    """The whole denoiser with its text encoder; about 4M + 0.8M parameters."""

    def __init__(self, config: Config, rows: int) -> None:
        super().__init__()
        width, self.head = config.transformer.width, config.transformer.width // config.transformer.heads
        channels = config.codec.channels * PATCH * PATCH
        self.text = TextEncoder(rows, config.text)
        self.enter = nn.Linear(2 * channels + PATCH * PATCH, width)
        self.place = nn.Linear(5 * WAVES * 2 + 5, width)
        self.clock = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.summary = nn.Linear(config.text.width, width)
        self.distilled = config.transformer.distilled
        self.steer = nn.Linear(config.transformer.controls + HURRIED * self.distilled, width, bias=False)
        self.control = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(
            Block(width, config.transformer.heads, config.text.width) for _ in range(config.transformer.depth)
        )
        self.control_out = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, channels)
        self.finish = Finish(config.codec.channels)
        for last in (self.steer, self.control, self.control_out, self.leave):
            nn.init.zeros_(last.weight)
        for last in (self.control, self.control_out, self.leave):
            nn.init.zeros_(last.bias)

    def forward(self, noisy_BLZhw: Tensor, window: Window, time_B: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        """Clean latents x_BLZhw, those of known positions included. `time` runs from 0 (noise) to 1 (clean)."""
        words_BND, bias = text
        height, width = noisy_BLZhw.shape[-2:]
        place = place_of(window, height, width, self.head)
        mask_BL1hw = window.mask_BLhw.unsqueeze(2)
        tokens = [to_tokens(part) for part in (noisy_BLZhw * (1 - mask_BL1hw), window.known_BLZhw, mask_BL1hw)]
        x_BLSD = self.enter(torch.cat(tokens, dim=-1)) + self.place(place.features_BLSF)
        time_BLS = times_of_tokens(tokens[2], time_B)
        told_BC = functional.pad(window.controls_BC, (0, self.steer.in_features - window.controls_BC.shape[1]))
        told_B11D = (self.summary(words_BND[:, 0]) + self.steer(told_BC))[:, None, None]
        condition_BLSD = functional.silu(self.clock(wave(time_BLS)) + told_B11D)
        control_BLS6D = self.control(condition_BLSD).unflatten(-1, (6, -1))
        for block in self.blocks:
            x_BLSD = block(x_BLSD, control_BLS6D, words_BND, bias, place)
        shift, scale = self.control_out(condition_BLSD).chunk(2, -1)
        guess = from_tokens(self.leave(modulate(x_BLSD, shift, scale)), height, width)
        return self.finish(guess, torch.where(mask_BL1hw > 0, window.known_BLZhw, noisy_BLZhw), time_B).float()


def times_of_tokens(marks_BLSF: Tensor, time_B: Tensor) -> Tensor:
    """Time of each token, 1 where most of it is known; [B,L,1] where all tokens of each frame agree."""
    known_BLS = marks_BLSF.mean(-1) > 0.5
    if bool((known_BLS == known_BLS[:, :, :1]).all()):
        known_BLS = known_BLS[:, :, :1]
    return torch.where(known_BLS, torch.ones_like(time_B)[:, None, None], time_B[:, None, None])


def wave(time: Tensor) -> Tensor:
    """Times in [0, 1] -> 64 features; logarithms spread the early times, where most is decided."""
    logit = torch.log((time + 1e-3) / (1 - time + 1e-3)) / 7
    angles = torch.stack([time, logit], -1)[..., None] * 2.0 ** torch.linspace(-1, 5, 16, device=time.device)
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)


def to_tokens(x_BLZhw: Tensor) -> Tensor:
    """[B,L,Z,h,w] -> [B,L,S,4Z]."""
    patches = functional.pixel_unshuffle(x_BLZhw.flatten(0, 1), PATCH)
    return patches.flatten(2).transpose(1, 2).unflatten(0, x_BLZhw.shape[:2])


def from_tokens(x_BLSF: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_tokens`."""
    patches = x_BLSF.flatten(0, 1).transpose(1, 2).unflatten(-1, (height // PATCH, width // PATCH))
    return functional.pixel_shuffle(patches, PATCH).unflatten(0, x_BLSF.shape[:2])
