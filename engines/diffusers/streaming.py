"""Decoding piece by piece, where the autoencoder is causal in time: frames leave while the rest is still latent.

The pieces are exactly what the library's own `decode` puts together, bit for bit; that keeps every frame of the clip
in memory until the last one is there, and this does not.

Legend: B clips, Z latent channels, L latent frames, h w latent positions, C colours, T frames, H W pixels.
"""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.diffusers.library import unpatchify
from engines.diffusers.refusal import NotFinite


class Latents(Exception):
    """Carries what a pipeline wanted to have decoded out of its call."""

    def __init__(self, latents_BZLhw: Tensor) -> None:
        super().__init__()
        self.latents_BZLhw = latents_BZLhw


@contextmanager
def intercepted(autoencoder: Any) -> Iterator[None]:
    """Within, `decode` raises Latents: whatever the pipeline does to latents before it has then been done."""

    def decode(latents_BZLhw: Tensor, *_: Any, **__: Any) -> None:
        raise Latents(latents_BZLhw)

    autoencoder.decode = decode
    try:
        yield
    finally:
        del autoencoder.decode


def streamer(autoencoder: Any) -> Callable[[Any, Tensor], Iterator[Tensor]] | None:
    """How this autoencoder is decoded piece by piece; None where it is not, or where tiles were asked for."""
    if getattr(autoencoder, "use_tiling", False):
        return None
    return {"AutoencoderKLWan": wan, "AutoencoderKLCogVideoX": cogvideox}.get(type(autoencoder).__name__)


def wan(autoencoder: Any, latents_BZLhw: Tensor) -> Iterator[Tensor]:
    """Yield frames_BCTHW in [-1, 1]: one, then four at a time."""
    patch = autoencoder.config.patch_size
    autoencoder.clear_cache()
    try:
        with torch.no_grad():
            _onload(autoencoder)
            states_BZLhw = autoencoder.post_quant_conv(latents_BZLhw)
        for index in range(states_BZLhw.shape[2]):
            with torch.no_grad():
                autoencoder._conv_idx = [0]  # noqa: SLF001 - the cache of features has no other door
                frames_BCTHW = autoencoder.decoder(
                    states_BZLhw[:, :, index : index + 1],
                    feat_cache=autoencoder._feat_map,  # noqa: SLF001 - likewise
                    feat_idx=autoencoder._conv_idx,  # noqa: SLF001 - likewise
                    first_chunk=index == 0,
                )
                frames_BCTHW = frames_BCTHW if patch is None else unpatchify(frames_BCTHW, patch)
                frames_BCTHW = frames_BCTHW.clamp(-1.0, 1.0)
            yield frames_BCTHW
    finally:
        autoencoder.clear_cache()


def cogvideox(autoencoder: Any, latents_BZLhw: Tensor) -> Iterator[Tensor]:
    """Yield frames_BCTHW: the first piece holds the odd latent frame, the others `num_latent_frames_batch_size`."""
    size, latents = autoencoder.num_latent_frames_batch_size, latents_BZLhw.shape[2]
    first = min(latents, size + latents % size)
    begins = [0, *range(first, latents, size), latents]
    cache: Any = None
    for begin, end in pairwise(begins):
        with torch.no_grad():
            _onload(autoencoder)
            piece = latents_BZLhw[:, :, begin:end]
            piece = piece if autoencoder.post_quant_conv is None else autoencoder.post_quant_conv(piece)
            frames_BCTHW, cache = autoencoder.decoder(piece, conv_cache=cache)
        yield frames_BCTHW


def pixels(frames_BCTHW: Tensor) -> NDArray[np.uint8]:
    """The first clip's `frames_THWC`, from [-1, 1]. Raises NotFinite."""
    frames_THWC = frames_BCTHW[0].permute(1, 2, 3, 0).float()
    if not bool(frames_THWC.isfinite().all()):
        raise NotFinite
    return (frames_THWC / 2 + 0.5).clamp(0, 1).mul(255).round().byte().cpu().contiguous().numpy()


def _onload(autoencoder: Any) -> None:
    """What the library does in front of `decode` when weights wait elsewhere."""
    hook = getattr(autoencoder, "_hf_hook", None)
    if hook is not None and hasattr(hook, "pre_forward"):
        hook.pre_forward(autoencoder)
