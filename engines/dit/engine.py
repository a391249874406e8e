"""The embedded model behind the engine seam: a plan in, frames out, window by window.

The clip is denoised in windows of 7 latent frames (25 frames, 4 s). Each further window begins with the last latent
frame of the window before, marked as known, and adds 6 more. Latent frames are decoded as soon as their window is
done, so memory does not grow with the length of the clip. A plan larger than what the model was trained to lay out is
drawn at `working_size` and scaled up, frame by frame.

Legend: B clips (2 under guidance: the prompt and the other text), L latent frames, Z latent channels, h w latent
positions, T frames, C colours, H W pixels.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from domain.video import Plan, Size
from engines.dit import checkpoint as checkpoints
from engines.dit import flow
from engines.dit.checkpoint import Checkpoint
from engines.dit.codec import Memory
from engines.protocol import Conditions, OnStep, Step

MULTIPLE = 16  # pixels: 8 of the autoencoder, 2 of the transformer's patch
PACE = 4  # frames of a latent frame


class DitEngine:
    """Renders plans with one loaded checkpoint. One render at a time for each engine; nothing is kept between them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._networks = checkpoint
        self._half = half_precision_is_fast()

    @classmethod
    def load(cls, folder: Path = checkpoints.WEIGHTS) -> DitEngine:
        """Load the weights in a folder. Raises FileNotFoundError or ValueError as `checkpoint.load` does."""
        return cls(checkpoints.load(folder))

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the weights in hex; empty for an untrained model."""
        return self._networks.sha256

    def render(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Iterator[NDArray[np.uint8]]:
        """Yield chunks of frames_THWC; see `engines.protocol.Engine.render`.

        Raises ValueError for a size that is not a multiple of 16 pixels, and whatever `on_step` raises.
        """
        if plan.rendered.width % MULTIPLE or plan.rendered.height % MULTIPLE:
            raise ValueError(f"{plan.rendered} is not a multiple of {MULTIPLE} pixels")
        memory: Memory | None = None
        left, total = plan.rendered_frames, plan.rendered_frames
        size = working_size(plan.rendered, self._networks.config.transformer.short_side)
        for latents_BLZhw in self._windows(plan, size, conditions, on_step):
            for latent_B1Zhw in latents_BLZhw.split(1, dim=1):
                frames_THWC, memory = self._decode(latent_B1Zhw, memory, plan.rendered)
                chunk = frames_THWC[:left]
                left -= len(chunk)
                on_step(Step("decode", total - left, total))
                yield chunk

    def _windows(self, plan: Plan, size: Size, conditions: Conditions, on_step: OnStep) -> Iterator[Tensor]:
        """New latent frames, window by window."""
        latents = 1 + -(-(plan.rendered_frames - 1) // PACE)
        lengths = window_lengths(latents, self._networks.config.transformer.window)
        known = self._first(conditions, size)
        text = self._read(plan)
        for index, length in enumerate(lengths):
            forwards = len(lengths) * plan.steps
            window = self._denoise(
                plan, size, text, known, window=index, length=length, forwards=forwards, on_step=on_step
            )
            yield window if index == 0 else window[:, 1:]
            known = window[:, -1:]

    @torch.no_grad()
    def _read(self, plan: Plan) -> tuple[Tensor, Tensor]:
        """States of the prompt and of the text to stay away from."""
        vocabulary, transformer = self._networks.vocabulary, self._networks.transformer
        prompts = [plan.prompt] if plan.guidance == 1 else [plan.prompt, plan.negative_prompt]
        with self._precision():
            return transformer.text(vocabulary.encode([vocabulary.split(prompt) for prompt in prompts]))

    @torch.no_grad()
    def _first(self, conditions: Conditions, size: Size) -> Tensor | None:
        """The latent frame of the picture that a clip is to begin with."""
        if conditions.first_frame_HWC is None:
            return None
        with self._precision():
            return self._networks.codec.encode(fit(conditions.first_frame_HWC, size)[None, None])

    @torch.no_grad()
    def _denoise(
        self,
        plan: Plan,
        size: Size,
        text: tuple[Tensor, Tensor],
        known_B1Zhw: Tensor | None,
        *,
        window: int,
        length: int,
        forwards: int,
        on_step: OnStep,
    ) -> Tensor:
        """One window of clean latents."""
        shape = (self._networks.config.codec.channels, size.height // 8, size.width // 8)
        noise = torch.cat([flow.noise_of(plan.seed, window, frame, shape) for frame in range(length)], dim=1)
        known, mask = torch.zeros_like(noise), torch.zeros(1, length)
        if known_B1Zhw is not None:
            known[:, :1], mask[:, :1] = known_B1Zhw, 1.0
        model = self._networks.transformer
        guided = flow.Guided(model, text, known, mask, plan.guidance, start=min(window, 1))
        done = window * plan.steps

        def denoise(state: Tensor, time: float) -> Tensor:
            nonlocal done
            on_step(Step("denoise", done, forwards))
            done += 1
            with self._precision():
                return guided(state, time)

        return flow.sample(denoise, noise, plan.steps)

    @torch.no_grad()
    def _decode(self, latent_B1Zhw: Tensor, memory: Memory | None, size: Size) -> tuple[NDArray[np.uint8], Memory]:
        """The frames of one latent frame (one for the first, four for the others) and the decoder's memory."""
        with self._precision():
            frames, following = self._networks.codec.decoder(latent_B1Zhw, memory)
        frames_TCHW = (frames[0, -1:] if memory is None else frames[0]).float()
        if frames_TCHW.shape[-2:] != (size.height, size.width):
            frames_TCHW = functional.interpolate(frames_TCHW, (size.height, size.width), mode="bicubic")
        frames_TCHW = frames_TCHW.clamp(0, 1)
        return (frames_TCHW * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy(), following

    def _precision(self) -> torch.autocast:
        """bfloat16 where the processor multiplies it natively, else float32."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self._half)


def half_precision_is_fast() -> bool:
    """Whether this processor has bfloat16 units. Asked, not timed: the same machine must always answer the same."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def working_size(rendered: Size, short_side: int) -> Size:
    """The size to draw at: `rendered`, or about its shape with the short side that the model was trained with."""
    shrink = short_side / min(rendered.width, rendered.height)
    if shrink >= 1:
        return rendered
    return Size(*(max(1, round(side * shrink / MULTIPLE)) * MULTIPLE for side in (rendered.width, rendered.height)))


def window_lengths(latents: int, window: int) -> list[int]:
    """Latent frames of each window; all but the first begin with one that is known already."""
    lengths = [min(window, latents)]
    left = latents - lengths[0]
    while left > 0:
        lengths.append(min(window, left + 1))
        left -= lengths[-1] - 1
    return lengths


def fit(picture_HWC: NDArray[np.uint8], size: Size) -> Tensor:
    """Cut the centre in the shape of `size` out of a picture, and scale it -> picture_CHW in [0, 1]."""
    height, width = picture_HWC.shape[:2]
    scale = min(width / size.width, height / size.height)
    tall, wide = max(1, round(size.height * scale)), max(1, round(size.width * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    cut = torch.from_numpy(np.ascontiguousarray(picture_HWC[top : top + tall, left : left + wide, :3]))
    picture_BCHW = cut.permute(2, 0, 1)[None].float() / 255
    scaled = functional.interpolate(
        picture_BCHW, (size.height, size.width), mode="bicubic", antialias=True, align_corners=False
    )
    return scaled[0].clamp(0, 1)
