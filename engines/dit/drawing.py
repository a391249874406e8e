"""One render's use of the networks: encode, denoise a window, decode a latent frame, and say so before each.

Legend: B clips (2 under guidance: the prompt and the other text), L latent frames, Z latent channels, h w latent
positions, T frames, C colours, H W pixels.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from domain.video import Plan, Size
from engines.dit import flow
from engines.dit.checkpoint import Checkpoint
from engines.dit.codec import Memory
from engines.dit.conditioning import Window
from engines.dit.model import PATCH, Transformer
from engines.dit.pictures import frames_of
from engines.protocol import OnStep, Step

SCALE = 8  # pixels of a latent position

Text = tuple[Tensor, Tensor]


class Drawer:
    """Draws at `size` for one plan. Windows are numbered as they come: noise depends on seed and number."""

    def __init__(
        self, networks: Checkpoint, transformer: Transformer, plan: Plan, size: Size, on_step: OnStep, *, half: bool
    ) -> None:
        self._networks, self._transformer, self._plan, self._on_step = networks, transformer, plan, on_step
        self._half = half
        self.shape_Zhw = (networks.config.codec.channels, size.height // SCALE, size.width // SCALE)
        self.size = size
        self.begin = 0.0  # of the noise's time; above 0 windows begin with something
        self.windows = 0
        self.forwards, self.forwards_in_all = 0, 0
        self.shown = 0  # frames that have left

    def times(self, length: int) -> list[float]:
        """When the denoiser is asked about a window of so many latent frames, and 1 at the end.

        A drawer that begins later takes its share of the plan's steps, all of them after its beginning, and none close
        behind it: what changes in the first step is carried on in the next.
        """
        tokens = length * self.shape_Zhw[1] * self.shape_Zhw[2] // PATCH**2
        wanted = steps = max(1, round(self._plan.steps * (1 - self.begin)))
        while len(times := flow.schedule(steps, tokens, self.begin)) <= wanted:
            steps += 1
        return times

    @property
    def _hurries(self) -> bool:
        """Whether one forward a step is enough: a distilled model knows guidance, but no text to stay away from."""
        return self._transformer.distilled and not self._plan.negative_prompt

    @torch.no_grad()
    def read(self, prompt: str) -> Text:
        """States of the prompt and of the text to stay away from."""
        vocabulary = self._networks.vocabulary
        alone = self._plan.guidance == 1 or self._hurries
        prompts = [prompt] if alone else [prompt, self._plan.negative_prompt]
        with self._precision():
            return self._transformer.text(vocabulary.encode([vocabulary.split(each) for each in prompts]))

    @torch.no_grad()
    def encode(self, video_TCHW: Tensor) -> Tensor:
        """1 + 4k frames of this drawer's size -> latents_BLZhw of one clip."""
        with self._precision():
            return self._networks.codec.encode(video_TCHW[None])

    @torch.no_grad()
    def denoise(self, text: Text, window: Window, clean_BLZhw: Tensor | None = None) -> Tensor:
        """Clean latents_BLZhw of a window of one clip; it begins with `clean` where the drawer begins later than 0."""
        length = window.known_BLZhw.shape[1]
        parts = [flow.noise_of(self._plan.seed, self.windows, index, self.shape_Zhw) for index in range(length)]
        state = torch.cat(parts, dim=1)
        if clean_BLZhw is not None:
            state = self.begin * clean_BLZhw + (1 - self.begin) * state
        self.windows += 1
        kind = flow.Distilled if self._hurries else flow.Guided
        guided = kind(self._transformer, text, window, self._plan.guidance)

        def guess(state_BLZhw: Tensor, time: float, then: float) -> Tensor:
            self._on_step(Step("denoise", self.forwards, self.forwards_in_all))
            self.forwards += 1
            with self._precision():
                return guided(state_BLZhw, time, then)

        return flow.sample(guess, state, self.times(length), carries=not self._hurries)

    @torch.no_grad()
    def decode(self, latent_BLZhw: Tensor, memory: Memory | None) -> tuple[NDArray[np.float32], Memory]:
        """Frames_THWC of one latent frame (one without memory, else four) at the plan's size, and the next memory."""
        self.tell()
        with self._precision():
            video_BTCHW, following = self._networks.codec.decoder(latent_BLZhw, memory)
        video_TCHW = (video_BTCHW[0, -1:] if memory is None else video_BTCHW[0]).float()
        wanted = (self._plan.rendered.height, self._plan.rendered.width)
        if video_TCHW.shape[-2:] != wanted:
            video_TCHW = functional.interpolate(video_TCHW, wanted, mode="bicubic")
        return frames_of(video_TCHW.clamp(0, 1)), following

    def tell(self) -> None:
        """Say how many frames have left."""
        self._on_step(Step("decode", self.shown, self._plan.rendered_frames))

    def _precision(self) -> torch.autocast:
        """bfloat16 where the processor multiplies it natively, else float32."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self._half)
