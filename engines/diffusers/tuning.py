"""Options that make a pipeline faster or smaller: each is tried, proved by one step, and left out if it fails."""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from engines.diffusers.library import FirstBlockCacheConfig
from engines.diffusers.options import Options
from engines.diffusers.refusal import Refused

log = logging.getLogger(__name__)

DENOISERS = ("transformer", "transformer_2", "unet")
SHAPES = 64  # compiled at most; a catalogue has no more sizes and lengths


@dataclass(slots=True)
class Facts:
    """What is in force, and what was asked for and is not, with the reason."""

    in_force: dict[str, Any] = field(default_factory=dict[str, Any])
    left_out: dict[str, str] = field(default_factory=dict[str, str])

    def leave_out(self, model: str, option: str, error: BaseException) -> None:
        """One line in the log, and the reason kept."""
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        self.left_out[option] = reason[:200]
        about = {"model": model, "option": option, "reason": self.left_out[option]}
        log.warning("an option does not work here and is left out", extra=about)


def denoisers(pipeline: Any) -> list[Any]:
    """The networks that run once a step."""
    return [network for name in DENOISERS if isinstance(network := getattr(pipeline, name, None), nn.Module)]


def place(pipeline: Any, options: Options, device: str, facts: Facts, model: str) -> None:
    """Weights to their device, or where they wait for it; tiles."""
    if options.tiling:
        try:
            pipeline.vae.enable_tiling()
            facts.in_force["tiling"] = True
        except (AttributeError, NotImplementedError) as error:
            facts.leave_out(model, "tiling", error)
    if options.offload != "none":
        try:
            offload(pipeline, options.offload, device)
            facts.in_force["offload"] = options.offload
        except (RuntimeError, ValueError) as error:
            facts.leave_out(model, "offload", error)
    if "offload" not in facts.in_force:
        pipeline.to(device)


def offload(pipeline: Any, kind: str, device: str) -> None:
    """Keep weights in main memory until they are used. Raises RuntimeError where there is no other memory."""
    if device == "cpu":
        raise RuntimeError("weights are in main memory already")
    if kind == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(
            onload_device=torch.device(device), offload_device=torch.device("cpu"), offload_type="leaf_level",
            use_stream=True,
        )  # fmt: skip


def tune(pipeline: Any, options: Options, prove: Callable[[], None], facts: Facts, model: str) -> None:
    """Apply what `options` ask for. `prove` draws one step and raises what does not work."""
    for option, shown, apply, undo in _wanted(pipeline, options):
        if option in facts.in_force:
            continue
        try:
            apply()
            prove()
        except Exception as error:  # noqa: BLE001 - backends fail in ways of their own; each means the same
            undo()
            facts.leave_out(model, f"{option}={shown}", error)
        else:
            facts.in_force[option] = shown


def _wanted(pipeline: Any, options: Options) -> Iterator[tuple[str, Any, Callable[[], None], Callable[[], None]]]:
    """Option, value to show, how it is applied, how it is undone."""
    networks = denoisers(pipeline)

    def each(method: str, *arguments: Any) -> Callable[[], None]:
        def call() -> None:
            for network in networks:
                getattr(network, method)(*arguments)

        return call

    # The library's own reset leaves the backend of the process behind.
    native = each("set_attention_backend", "native")
    if options.quantisation == "float8_storage":
        kinds = torch.float8_e4m3fn, networks[0].dtype
        yield "quantisation", options.quantisation, each("enable_layerwise_casting", *kinds), _stay
    for backend in options.attention:
        yield "attention", backend, each("set_attention_backend", backend), native
    if options.cache == "first_block":
        config = FirstBlockCacheConfig(threshold=options.cache_threshold)
        yield "cache", options.cache, each("enable_cache", config), lambda: _uncache(networks)
    if options.compile:
        yield "compile", True, lambda: _compile(networks), lambda: _interpret(networks)


def _stay() -> None:
    raise Refused("this model does not draw with quantisation = float8_storage; take the option out")


def _uncache(networks: list[Any]) -> None:
    for network in networks:
        if getattr(network, "is_cache_enabled", False):
            network.disable_cache()


def _compile(networks: list[Any]) -> None:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)  # noqa: SLF001 - documented
    for network in networks:
        network.compile_repeated_blocks()


def _interpret(networks: list[Any]) -> None:
    for network in networks:
        for module in network.modules():
            module._compiled_call_impl = None  # noqa: SLF001 - torch has no way to take `compile` back
