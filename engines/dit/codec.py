"""The video autoencoder: causal in time, 8 x 8 pixels x 4 frames -> one latent position of 16 numbers.

The first frame is a latent frame of its own (it is encoded as if it had stood still for four frames), so 1 + 4k frames
make 1 + k latent frames, and an image is a video of one frame. Every latent frame is decoded from itself and a memory
of its predecessors; the memory is explicit (`Memory`), so a clip can be decoded piece by piece with the same result.

Legend: B clips, T frames, L latent frames, C colours, H W pixels, h w latent positions, Z latent channels, D features.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.dit.config import CodecConfig

Memory = list[Tensor]


def to_blocks(video_BTCHW: Tensor) -> Tensor:
    """1 + 4k frames -> 1 + k groups of four frames as channels, in blocks of 4 x 4 pixels: [B,L,192,H/4,W/4]."""
    first = video_BTCHW[:, :1].expand(-1, 3, -1, -1, -1)
    padded = torch.cat([first, video_BTCHW], dim=1)
    batch, frames, colours, height, width = padded.shape
    groups = padded.reshape(batch * frames // 4, 4 * colours, height, width)
    return functional.pixel_unshuffle(groups, 4).reshape(batch, frames // 4, -1, height // 4, width // 4)


def from_blocks(blocks_BLDhw: Tensor) -> Tensor:
    """The inverse of `to_blocks`, but every latent frame gives four frames: [B,4L,C,H,W]."""
    batch, latents = blocks_BLDhw.shape[:2]
    pixels = functional.pixel_shuffle(blocks_BLDhw.flatten(0, 1), 4)
    return pixels.reshape(batch, latents * 4, 3, *pixels.shape[-2:])


def norm(x_NDhw: Tensor) -> Tensor:
    """Root-mean-square over the features of each position: no statistics over space, so crops and sizes agree."""
    return x_NDhw * torch.rsqrt(x_NDhw.float().square().mean(1, keepdim=True) + 1e-5).to(x_NDhw.dtype)


class Conv(nn.Module):
    """A convolution whose weight is stored as a matrix, which the Muon optimiser can treat as one."""

    def __init__(self, enter: int, leave: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        self.weight = nn.Parameter(torch.randn(leave, enter * size * size) * (enter * size * size) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(leave))

    def forward(self, x_NDhw: Tensor) -> Tensor:
        """[N,enter,h,w] -> [N,leave,h/stride,w/stride]."""
        kernel = self.weight.unflatten(1, (-1, self.size, self.size))
        return functional.conv2d(x_NDhw, kernel, self.bias, self.stride, (self.size - self.stride + 1) // 2)


class Block(nn.Module):
    """Residual block in space."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width, 3)
        self.second = Conv(width, width, 3)
        nn.init.zeros_(self.second.weight)

    def forward(self, x_NDhw: Tensor) -> Tensor:
        """[N,D,h,w] -> the same."""
        return x_NDhw + self.second(functional.silu(self.first(norm(x_NDhw))))


class Past(nn.Module):
    """Residual mixing of each latent frame with its predecessor; the predecessor of the first one is zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = Conv(2 * width, width, 1)
        nn.init.zeros_(self.mix.weight)

    def forward(self, x_BLDhw: Tensor, before_B1Dhw: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the mixture and the last frame, which is the memory for the next call."""
        before = torch.zeros_like(x_BLDhw[:, :1]) if before_B1Dhw is None else before_B1Dhw
        shifted = torch.cat([before, x_BLDhw[:, :-1]], dim=1)
        pair = norm(torch.cat([x_BLDhw, shifted], dim=2).flatten(0, 1))
        return x_BLDhw + self.mix(pair).view_as(x_BLDhw), x_BLDhw[:, -1:]


class Encoder(nn.Module):
    """Video -> latents, about 0.9M parameters."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.enter = Conv(192, width, 3)
        self.fine = nn.ModuleList(Block(width) for _ in range(config.encoder_blocks))
        self.down = Conv(width, 2 * width, 2, 2)
        self.past = Past(2 * width)
        self.coarse = nn.ModuleList(Block(2 * width) for _ in range(config.encoder_blocks))
        self.leave = Conv(2 * width, config.channels, 1)
        self.direct = Conv(192, config.channels, 2, 2)
        nn.init.zeros_(self.leave.weight)

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        """[B,1+4k,3,H,W] in [0,1] -> raw latents [B,1+k,Z,h,w]."""
        blocks = to_blocks(video_BTCHW * 2 - 1)
        batch, latents = blocks.shape[:2]
        direct = self.direct(blocks.flatten(0, 1))
        x = self.enter(blocks.flatten(0, 1))
        for block in self.fine:
            x = block(x)
        x = self.down(x)
        x = self.past(x.unflatten(0, (batch, latents)), None)[0].flatten(0, 1)
        for block in self.coarse:
            x = block(x)
        return (direct + self.leave(norm(x))).unflatten(0, (batch, latents))


class Decoder(nn.Module):
    """Latents -> video, about 1.1M parameters."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.enter = Conv(config.channels, 2 * width, 3)
        self.pasts = nn.ModuleList(Past(2 * width) for _ in range(config.decoder_blocks))
        self.coarse = nn.ModuleList(Block(2 * width) for _ in range(config.decoder_blocks))
        self.up = Conv(2 * width, 4 * width, 1)
        self.fine = nn.ModuleList(Block(width) for _ in range(config.decoder_blocks))
        self.leave = Conv(width, 192, 3)
        self.direct = Conv(config.channels, 768, 1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, latents_BLZhw: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Normalised latents -> four frames each [B,4L,3,H,W], and the memory to go on with."""
        batch, latents = latents_BLZhw.shape[:2]
        kept: Memory = []
        direct = functional.pixel_shuffle(self.direct(latents_BLZhw.flatten(0, 1)), 2)
        x = self.enter(latents_BLZhw.flatten(0, 1))
        for index, (past, block) in enumerate(zip(self.pasts, self.coarse, strict=True)):
            mixed, last = past(x.unflatten(0, (batch, latents)), memory[index] if memory else None)
            kept.append(last)
            x = block(mixed.flatten(0, 1))
        x = functional.pixel_shuffle(self.up(norm(x)), 2)
        for block in self.fine:
            x = block(x)
        return from_blocks((direct + self.leave(norm(x))).unflatten(0, (batch, latents))) * 0.5 + 0.5, kept


class Codec(nn.Module):
    """Encoder, decoder, and the scale of the latents (each channel has mean 0 and deviation 1 over the data)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        config = config or CodecConfig()
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("deviation", torch.ones(config.channels))

    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """[B,1+4k,3,H,W] in [0,1], H and W multiples of 8 -> normalised latents [B,1+k,Z,h,w]."""
        return self.normalise(self.encoder(video_BTCHW).float())

    @torch.no_grad()
    def begin(self, video_BTCHW: Tensor) -> None:
        """Set the direct paths to the principal components of a batch, so that training starts at a usable codec."""
        blocks = (
            functional.pixel_unshuffle(to_blocks(video_BTCHW * 2 - 1).flatten(0, 1), 2)
            .permute(0, 2, 3, 1)
            .flatten(0, 2)
        )
        mean = blocks.mean(0)
        _, deviations, components = torch.pca_lowrank(blocks - mean, q=len(self.mean), center=False, niter=4)
        deviations = deviations / len(blocks) ** 0.5
        self.encoder.direct.weight.copy_((components / deviations).T)
        self.encoder.direct.bias.copy_(-(mean @ components) / deviations)
        self.decoder.direct.weight.copy_(components * deviations)
        self.decoder.direct.bias.copy_(mean)

    def normalise(self, raw_BLZhw: Tensor) -> Tensor:
        """Raw latents -> normalised latents."""
        return (raw_BLZhw - self.mean.view(-1, 1, 1)) / self.deviation.view(-1, 1, 1)

    def decode_stream(self, latents: Iterator[Tensor]) -> Iterator[Tensor]:
        """Latent frames [B,1,Z,h,w] in order -> frames [B,1 or 4,C,H,W] in [0,1] as soon as they are known."""
        memory: Memory | None = None
        for latent_B1Zhw in latents:
            frames, following = self.decoder(latent_B1Zhw, memory)
            yield (frames[:, -1:] if memory is None else frames).float().clamp(0, 1)
            memory = following

    def decode(self, latents_BLZhw: Tensor) -> Tensor:
        """Normalised latents [B,1+k,Z,h,w] -> [B,1+4k,3,H,W] in [0,1]."""
        return torch.cat(list(self.decode_stream(iter(latents_BLZhw.split(1, dim=1)))), dim=1)

    def decode_at_once(self, latents_BLZhw: Tensor) -> Tensor:
        """The same as one large batch and without the clamp: what training uses. Equal up to rounding."""
        return self.decoder(latents_BLZhw)[0][:, 3:]
