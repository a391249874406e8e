"""The embedded model behind the engine seam: a plan in, frames out.

A plan is cut into parts (`parts`), each part into windows (`windows`), which are drawn one after the other (`takes`,
`drawing`). Latent frames are decoded as soon as their window is done, so memory does not grow with the length of the
clip. A plan larger than what the model was trained to lay out is drawn at `working_size` and scaled up.

Legend: L latent frames, Z latent channels, h w latent positions, T frames, C colours, H W pixels.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from domain.video import Plan, Size
from engines.dit import checkpoint as checkpoints
from engines.dit import lora, sources, takes, windows
from engines.dit.checkpoint import Checkpoint
from engines.dit.drawing import Drawer
from engines.dit.parts import Part, cut
from engines.dit.pictures import Frame, alpha, bytes_of, frames_of, painted, video_of
from engines.dit.preparing import extended, repainted, strength_of, take_of
from engines.dit.takes import Layout
from engines.protocol import Conditions, OnStep

MULTIPLE = 16  # pixels: 8 of the autoencoder, 2 of the transformer's patch
CHUNK = 4  # frames
FAITHFUL = 0.3  # strength of an edit below which ever more of its source is shown itself: no codec is as true
LONG = ("stream", "anchors")  # how a part is drawn that is longer than a window


class DitEngine:
    """Renders plans with one loaded checkpoint. One render at a time for each engine; nothing is kept between them."""

    def __init__(
        self, checkpoint: Checkpoint, loras: Mapping[str, lora.Adapter] | None = None, *, long: str = LONG[0]
    ) -> None:
        if long not in LONG:
            raise ValueError(f"long is one of {', '.join(LONG)}, not {long!r}")
        self._networks = checkpoint
        self._loras = dict(loras or {})
        self._long = long
        self._half = half_precision_is_fast()
        self._drawn_last: dict[str, Any] = {}

    @classmethod
    def load(
        cls, folder: Path = checkpoints.WEIGHTS, loras: Mapping[str, Path] | None = None, **options: Any
    ) -> DitEngine:
        """Load the weights in a folder, and adapters by name. `options` are those of models.toml.

        Raises FileNotFoundError or ValueError as `checkpoint.load` does, lora.Unfit (a ValueError) for an adapter
        that does not fit, and ValueError for an option that does not exist.
        """
        if unknown := options.keys() - {"long"}:
            raise ValueError(f"no such option of the embedded model: {', '.join(sorted(unknown))}")
        networks = checkpoints.load(folder)
        return cls(networks, lora.load(loras or {}, networks), **options)

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the weights in hex; empty for an untrained model."""
        return self._networks.sha256

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the last render drew: the size before scaling, windows, forwards of the denoiser."""
        return {"long": self._long, **self._drawn_last}

    def render(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Iterator[NDArray[np.uint8]]:
        """Yield chunks of frames_THWC; see `engines.protocol.Engine.render`.

        Raises ValueError for a size that is not a multiple of 16 pixels, and whatever `on_step` raises.
        """
        if plan.rendered.width % MULTIPLE or plan.rendered.height % MULTIPLE:
            raise ValueError(f"{plan.rendered} is not a multiple of {MULTIPLE} pixels")
        drawer = self._drawer(plan, conditions, on_step)
        parts = cut(plan, conditions)
        layouts = [self._layout(plan, conditions, part) for part in parts]
        self._count(drawer, layouts)
        for part, layout in zip(parts, layouts, strict=True):
            frames = self._frames(drawer, plan, conditions, part, layout)
            while chunk := list(islice(frames, CHUNK)):
                drawer.shown += len(chunk)
                drawer.tell()
                yield bytes_of(np.stack(chunk))

    def _drawer(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Drawer:
        transformer = lora.adapted(
            self._networks.transformer, [(self._loras[each.name], each.weight) for each in plan.loras]
        )
        size = working_size(plan.rendered, self._networks.config.transformer.short_side)
        drawer = Drawer(self._networks, transformer, plan, size, on_step, half=self._half)
        if repainted(plan, conditions) is not None:
            drawer.begin = 1.0 - strength_of(plan)
        return drawer

    def _layout(self, plan: Plan, conditions: Conditions, part: Part) -> Layout:
        """The windows of a part; none where all of the source stays."""
        window = self._networks.config.transformer.window
        if repainted(plan, conditions) is not None and strength_of(plan) == 0:
            return Layout(())
        led = self._long == "anchors" or any(frame > 0 for frame in part.pictures)
        if led and conditions.source is None and part.frames > windows.longest(window):
            return takes.chain_of(part.frames, part.pictures, window, plan.rendered_fps)
        return takes.stream_of(part.frames, part.pictures, window, opens=extended(plan, conditions) is None)

    def _count(self, drawer: Drawer, layouts: list[Layout]) -> None:
        """All forwards of the denoiser, before the first."""
        lengths = [length for layout in layouts for length in layout.lengths]
        drawer.forwards_in_all = sum(len(drawer.times(length)) - 1 for length in lengths)
        drawn = {"drawn": str(drawer.size), "windows": len(lengths), "forwards": drawer.forwards_in_all}
        self._drawn_last = drawn

    def _frames(
        self, drawer: Drawer, plan: Plan, conditions: Conditions, part: Part, layout: Layout
    ) -> Iterator[Frame]:
        """Every frame of a part."""
        source = repainted(plan, conditions)
        if source is None:
            return takes.draw(drawer, take_of(drawer, plan, conditions, part), layout)
        kept_frames = (frames_of(video_of(each[None]))[0] for each in sources.frames(source, plan, part.frames))
        if not layout.stretches:
            return kept_frames
        drawn = takes.draw(drawer, take_of(drawer, plan, conditions, part), layout)
        alpha_HW1 = np.full((1, 1, 1), min(1.0, strength_of(plan) / FAITHFUL), np.float32)
        if conditions.mask_HW is not None:
            alpha_HW1 = alpha_HW1 * alpha(conditions.mask_HW, plan.rendered)
        return (painted(under, over, alpha_HW1) for under, over in zip(kept_frames, drawn, strict=False))


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
