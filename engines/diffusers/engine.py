"""Any video pipeline of `diffusers` behind the engine seam: a plan in, frames out, part by part.

Legend: B clips, Z latent channels, L latent frames, h w latent positions, T frames, H W pixels, C colours.
"""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domain.catalogue import Model
from domain.video import Lora, Operation, Plan, Size
from engines.diffusers import loading, tuning
from engines.diffusers.call import Call, call_of, pairs, strength_of
from engines.diffusers.families import Task
from engines.diffusers.loading import Loaded
from engines.diffusers.parts import Part, cut
from engines.diffusers.pictures import Canvas, alpha, blended
from engines.diffusers.refusal import NotFinite, OutOfMemory
from engines.diffusers.streaming import Latents, intercepted, pixels, streamer
from engines.protocol import Conditions, OnStep

Result = TypeVar("Result")
Frames = NDArray[np.uint8]

CHUNK = 4  # frames, where the pipeline decodes all at once


class DiffusersEngine:
    """Renders plans with one loaded set of weights. One render at a time; nothing is kept between them."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._drawn_last: dict[str, Any] = {}
        if loaded.options.attention or loaded.options.compile or self._lossy:
            tuning.tune(loaded.base, loaded.options, self._prove, loaded.facts, loaded.name)
            self._drawn_last = {}  # a trial is nobody's render

    @classmethod
    def load(cls, model: Model, root: Path) -> DiffusersEngine:
        """`root` is the folder of models.toml. Raises engines.diffusers.refusal.Refused, which says what to do."""
        return cls(loading.load(model, root))

    @property
    def checkpoint(self) -> str:
        """SHA-256 in hex over the weight files; adapters do not count."""
        return self._loaded.checkpoint

    @property
    def facts(self) -> Mapping[str, Any]:
        """Library, pipeline, device, the options that are in force or were left out, what the last render drew."""
        facts = self._loaded.facts
        left_out = {"left_out": dict(facts.left_out)} if facts.left_out else {}
        return {**facts.in_force, **left_out, **self._drawn_last}

    def render(self, plan: Plan, conditions: Conditions, on_step: OnStep) -> Iterator[Frames]:
        """Yield chunks of frames_THWC; see `engines.protocol.Engine.render`.

        Raises OutOfMemory for a clip that does not fit, NotFinite for one that is no picture, Unrenderable for a
        picture that the model cannot do without, and whatever `on_step` raises; the engine can render again afterwards.
        """
        loaded = self._loaded
        parts = cut(plan, conditions, loaded.options.window)
        calls_steps = [self._steps(plan, conditions)] * len(parts)
        canvas = Canvas(plan.rendered, Size(*loaded.grid.sides(plan.rendered.width, plan.rendered.height)))
        self._drawn_last = {"drawn": str(canvas.drawn), "drawn_frames": [], "drawn_steps": calls_steps}
        with ExitStack() as stack:
            stack.callback(self._reset)
            stack.enter_context(loaded.watch.watching(on_step, sum(calls_steps), plan.rendered_frames))
            self._adapters(plan.loras)
            kept = self._kept(plan, conditions)
            before_HWC: Frames | None = None
            for number, part in enumerate(parts):
                loaded.watch.begin(sum(calls_steps[: number + 1]))
                source_THWC = None if kept is None else np.stack([next(kept) for _ in range(part.frames)])
                call = call_of(
                    loaded, plan, part, canvas, before_HWC=before_HWC, source_THWC=source_THWC, seed=plan.seed + number
                )
                self._drawn_last["drawn_frames"].append(call.drawn)
                for frames_THWC in self._shown(call, part, canvas):
                    chunk_THWC = frames_THWC
                    if source_THWC is not None and conditions.mask_HW is not None:
                        done = loaded.watch.frames - part.begin
                        under_THWC = source_THWC[done : done + len(chunk_THWC)]
                        chunk_THWC = blended(under_THWC, chunk_THWC, alpha(conditions.mask_HW, plan.rendered))
                    before_HWC = chunk_THWC[-1]
                    loaded.watch.frames += len(chunk_THWC)
                    loaded.watch.decodes()
                    yield chunk_THWC

    def _steps(self, plan: Plan, conditions: Conditions) -> int:
        """Of one call. A repainted clip begins part of the way."""
        if conditions.source is None or plan.operation is Operation.EXTEND or plan.strength is None:
            return plan.steps
        return int(plan.steps * strength_of(plan))

    def _kept(self, plan: Plan, conditions: Conditions) -> Iterator[Frames] | None:
        """Frames of the clip that is repainted."""
        if conditions.source is None or plan.operation is Operation.EXTEND:
            return None
        chunks = conditions.source.frames(plan.rendered, plan.rendered_fps, plan.rendered_frames)
        return (frame_HWC for chunk_THWC in chunks for frame_HWC in chunk_THWC)

    def _shown(self, call: Call, part: Part, canvas: Canvas) -> Iterator[Frames]:
        """What a part shows of the frames that its call draws."""
        wanted, at = call.shown(part), 0
        for frames_THWC in self._drawn(call):
            chosen = [index - at for index in wanted if at <= index < at + len(frames_THWC)]
            at += len(frames_THWC)
            if chosen:
                yield canvas.cropped(frames_THWC[chosen])
            if at > wanted[-1]:
                return

    def _drawn(self, call: Call) -> Iterator[Frames]:
        """Every frame, streamed where the autoencoder allows."""
        found = self._twice(lambda: self._run(call))
        self._loaded.watch.end()
        if isinstance(found, np.ndarray):
            for begin in range(0, len(found), CHUNK):
                yield found[begin : begin + CHUNK]
            return
        stream = streamer(call.pipeline.vae)
        assert stream is not None  # noqa: S101 - only then latents come back
        yield from self._decoded(lambda: stream(call.pipeline.vae, found))

    def _decoded(self, begin: Callable[[], Iterator[Tensor]]) -> Iterator[Frames]:
        """Every piece. If there was too little memory they begin once more, and those that have left stay out."""
        left = 0
        for again in (True, False):
            try:
                for number, piece in enumerate(begin()):
                    if number == left:
                        yield pixels(piece)
                        left += 1
            except RuntimeError as error:
                if not (again and ran_out(error)):
                    raise (_too_large(self._loaded.name) if ran_out(error) else error) from error
            else:
                return
            self._lighten()

    def _run(self, call: Call) -> Tensor | Frames:
        """Latents that are to be streamed, or all frames_THWC."""
        self._guide(call)
        if not call.streams or streamer(call.pipeline.vae) is None:
            return _frames(call.pipeline(**call.arguments(), output_type="np"))
        try:
            with intercepted(call.pipeline.vae):
                call.pipeline(**call.arguments(), output_type="np")
        except Latents as caught:
            latents = caught.latents_BZLhw
        else:
            raise RuntimeError(f"{type(call.pipeline).__name__} did not decode")
        self._loaded.base.maybe_free_model_hooks()
        return latents

    def _guide(self, call: Call) -> None:
        """Families with a guider hold guidance there."""
        guider = getattr(call.pipeline, "guider", None)
        if guider is not None and hasattr(guider, "guidance_scale"):
            call.pipeline.guider = guider.new(guidance_scale=call.guidance)

    def _twice(self, attempt: Callable[[], Result]) -> Result:
        """Once more with less in memory, if there was too little."""
        try:
            return attempt()
        except RuntimeError as error:
            if not ran_out(error):
                raise
        self._lighten()
        try:
            return attempt()
        except RuntimeError as error:
            raise (_too_large(self._loaded.name) if ran_out(error) else error) from error

    def _lighten(self) -> None:
        """Give back what can be given back; on a GPU, weights wait in main memory from now on."""
        loaded = self._loaded
        self._reset()
        if loaded.device != "cpu" and "offload" not in loaded.facts.in_force:
            tuning.offload(loaded.base, "model", loaded.device)
            loaded.facts.in_force["offload"] = "model, since memory ran out"
        gc.collect()
        if loaded.device != "cpu":
            torch.cuda.empty_cache()

    def _reset(self) -> None:
        """Forget what a render that was broken off may have left."""
        for network in tuning.denoisers(self._loaded.base):
            if getattr(network, "is_cache_enabled", False):
                network._reset_stateful_cache()  # noqa: SLF001 - the library does so only when a pipeline call ends
        autoencoder = getattr(self._loaded.base, "vae", None)
        if autoencoder is not None and hasattr(autoencoder, "clear_cache"):
            autoencoder.clear_cache()
        self._loaded.base.maybe_free_model_hooks()

    def _adapters(self, loras: tuple[Lora, ...]) -> None:
        base = self._loaded.base
        if loras:
            base.enable_lora()
            base.set_adapters([self._loaded.loras[lora.name] for lora in loras], [lora.weight for lora in loras])
        elif self._loaded.loras:
            base.disable_lora()

    @property
    def _lossy(self) -> bool:
        return self._loaded.options.cache != "none" or self._loaded.options.quantisation != "none"

    def _prove(self) -> None:
        """Draw the smallest clip in one step."""
        grid = self._loaded.grid
        side, frames = grid.side * 2, grid.length(1)
        plan = Plan(
            model=self._loaded.name, prompt="a test", seconds=1, rendered=Size(side, side), rendered_fps=frames,
            delivered=Size(side, side), fps=frames, seed=0, steps=1, guidance=2.0,
        )  # fmt: skip
        black_HWC = np.zeros((side, side, 3), np.uint8)
        conditions = Conditions()
        if Task.TEXT not in self._loaded.pipelines:
            conditions = Conditions(black_HWC, black_HWC if pairs(self._loaded) else None)
        for _ in self.render(plan, conditions, lambda _: None):
            pass


def ran_out(error: RuntimeError) -> bool:
    """Whether memory was the matter, on a GPU or in the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _too_large(name: str) -> OutOfMemory:
    return OutOfMemory(
        f"{name}: memory ran out twice, the second time with weights out of the way. Offer smaller sizes or fewer "
        "seconds, or set options: offload, tiling, window, quantisation"
    )


def _frames(output: Any) -> Frames:
    """The first clip of a pipeline's answer. Raises NotFinite."""
    clip = np.asarray(output.frames[0])
    if clip.dtype == np.uint8:
        return clip
    if not np.isfinite(clip).all():
        raise NotFinite
    return np.rint(clip.astype(np.float32).clip(0, 1) * 255).astype(np.uint8)
