"""Progress and cancel for every pipeline, without its help: each network asks before it runs.

A hook in front of each network's forward, and of each of its layers, calls `on_step`, which may raise; the
autoencoder's encoder and decoder have one of their own, since `decode` never goes through its forward. Steps are
counted at the scheduler. So whoever wants to stop a render waits for one forward at most, in the denoiser, in the text
encoder and in the autoencoder alike; and whoever waits for a long one sees that it goes on.
"""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from engines.protocol import OnStep, Step

if TYPE_CHECKING:
    from engines.diffusers.library import DiffusionPipeline


class Watch:
    """Attached to all networks of a pipeline once; its siblings share them. Silent unless somebody is `watching`."""

    def __init__(self, pipeline: DiffusionPipeline, *, layers: bool) -> None:
        """`layers`: those of the denoiser tell too. Not of one that is compiled, where they cannot be told apart."""
        self._on_step: OnStep | None = None
        self._steps = self._total_steps = 0
        self._limit = self._signs = 0
        self._told: Step | None = None
        self.frames = self._total_frames = 0
        for name, component in pipeline.components.items():
            if isinstance(component, nn.Module):
                self._hook(name, component, layers=layers)
        self._count(pipeline.scheduler)

    @contextmanager
    def watching(self, on_step: OnStep, steps: int, frames: int) -> Iterator[None]:
        """For one render of `steps` and `frames` in all."""
        self._on_step, self._steps, self.frames = on_step, 0, 0
        self._total_steps = self._limit = steps
        self._told, self._signs = None, 0
        self._total_frames = frames
        try:
            yield
        finally:
            self._on_step = None

    @contextmanager
    def silent(self) -> Iterator[None]:
        """For a forward that belongs to no render."""
        before, self._on_step = self._on_step, None
        try:
            yield
        finally:
            self._on_step = before

    def begin(self, limit: int) -> None:
        """The next call of the pipeline ends at `limit` steps of the render, however often its scheduler is asked."""
        self._limit = limit
        self.denoises()

    def end(self) -> None:
        """The call is over: all of its steps are done, even if it needed fewer."""
        self._steps = self._limit

    def denoises(self, *_: Any) -> None:
        """Before every forward but the decoder's. Raises whatever `on_step` raises."""
        self._tell(Step("denoise", min(self._steps, self._limit), self._total_steps))

    def decodes(self, *_: Any) -> None:
        """Before every forward of the decoder. Raises whatever `on_step` raises."""
        self._tell(Step("decode", self.frames, self._total_frames))

    def _tell(self, step: Step) -> None:
        """Where nothing has risen since the last time, a sign of life goes first: a forward has ended all the same."""
        if self._on_step is None:
            return
        if step == self._told:
            self._signs += 1
            self._on_step(Step("wait", self._signs, 0))
        self._told = step
        self._on_step(step)

    def _hook(self, name: str, network: nn.Module, *, layers: bool) -> None:
        decoder, encoder = getattr(network, "decoder", None), getattr(network, "encoder", None)
        if "vae" not in name or not isinstance(decoder, nn.Module):
            _before(network, self.denoises, layers=layers)
            return
        _before(decoder, self.decodes, layers=True)
        if isinstance(encoder, nn.Module):
            _before(encoder, self.denoises, layers=True)

    def _count(self, scheduler: Any) -> None:
        step = scheduler.step

        @functools.wraps(step)  # pipelines look at its parameters
        def counted(*arguments: Any, **named: Any) -> Any:
            after = step(*arguments, **named)
            self._steps += 1
            return after

        scheduler.step = counted


def _before(network: nn.Module, tell: Callable[..., None], *, layers: bool) -> None:
    """Ahead of its forward and, if `layers`, of those that it keeps in lists."""
    network.register_forward_pre_hook(tell)
    lists = [child for child in network.children() if layers and isinstance(child, nn.ModuleList)]
    for layer in (each for found in lists for each in found):
        layer.register_forward_pre_hook(tell)
