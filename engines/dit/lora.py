"""Low-rank adapters: a few hundred kilobytes that bend the transformer's linear layers towards a look of one's own.

For a layer with the weight W_OI an adapter holds two thin matrices, down_RI and up_OR; with it, the layer computes
with W + weight * (alpha / rank) * up @ down. One adapter is one safetensors file, whose header says which networks it
fits, which base it was trained on, and how.

For a render, `adapted` builds a transformer that shares every tensor with the base except the sums. The base is never
written, so there is nothing to take off again, whatever a render raises, and a forward costs what it always costs.

Legend: O features out, I features in, R rank.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engines.dit.checkpoint import Checkpoint
from engines.dit.config import Config
from engines.dit.model import Transformer

log = logging.getLogger(__name__)

KIND = "kinema-dit lora 1"
DOWN, UP = ".down", ".up"
HEADER = ("kind", "alpha", "config", "base", "trigger", "card")


class Unfit(ValueError):
    """The file is no adapter, or one for other networks; the message says which file, and why."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter in memory, in float32. `base` is the SHA-256 of the checkpoint that it was trained on."""

    pairs: Mapping[str, tuple[Tensor, Tensor]]  # name of a linear layer -> (down_RI, up_OR)
    alpha: float
    config: Config
    base: str
    trigger: str  # words that call the look; belongs into the prompt
    card: Mapping[str, Any]

    @property
    def rank(self) -> int:
        """Columns of the thin matrices."""
        return next(iter(self.pairs.values()))[0].shape[0]

    @property
    def strength(self) -> float:
        """What a product is multiplied with at weight 1."""
        return self.alpha / self.rank


def layers(transformer: Transformer) -> dict[str, nn.Linear]:
    """The layers that an adapter may bend: attention, attention to the words, and perceptron of every block."""
    found = transformer.blocks.named_modules(prefix="blocks")
    return {name: layer for name, layer in found if isinstance(layer, nn.Linear)}


def adapted(transformer: Transformer, chosen: Sequence[tuple[Adapter, float]]) -> Transformer:
    """A transformer with adapters at their weights; the base itself if none of them has any weight.

    It owns the adapted matrices and shares all other tensors with the base, which stays as it is.
    """
    chosen = [(adapter, weight) for adapter, weight in chosen if weight != 0]
    if not chosen:
        return transformer
    shared: dict[int, Any] = {id(each): each for each in (*transformer.parameters(), *transformer.buffers())}
    bent = deepcopy(transformer, shared)
    for name, layer in layers(bent).items():
        there = [(adapter, weight) for adapter, weight in chosen if name in adapter.pairs]
        if there:
            layer.weight = nn.Parameter(_sum(layer.weight, name, there), requires_grad=False)
    return bent


@torch.no_grad()
def _sum(weight_OI: Tensor, name: str, chosen: Sequence[tuple[Adapter, float]]) -> Tensor:
    total_OI = weight_OI.float()
    for adapter, weight in chosen:
        down_RI, up_OR = (part.to(total_OI.device) for part in adapter.pairs[name])
        total_OI = total_OI + weight * adapter.strength * (up_OR @ down_RI)
    return total_OI.to(weight_OI.dtype)


def load(files: Mapping[str, Path], checkpoint: Checkpoint) -> dict[str, Adapter]:
    """The adapters of a model by name. Raises Unfit for a file that is none, or that fits other networks."""
    return {name: fitting(read(path), checkpoint, path) for name, path in files.items()}


def fitting(adapter: Adapter, checkpoint: Checkpoint, path: Path) -> Adapter:
    """The adapter, if it fits a checkpoint's networks, else Unfit. Another base of the same sizes is only logged."""
    there = layers(checkpoint.transformer)
    if _sizes(adapter.config) != _sizes(checkpoint.config):
        raise Unfit(f"{path} was trained for networks of other sizes than this checkpoint's: train it again")
    for name, (down_RI, up_OR) in adapter.pairs.items():
        if name not in there or there[name].weight.shape != (up_OR.shape[0], down_RI.shape[1]):
            raise Unfit(f"{path} does not fit the layer {name}")
    if adapter.base != checkpoint.sha256:
        log.warning(
            "an adapter was trained on another base, so its look may differ",
            extra={"file": str(path), "trained_on": adapter.base, "serving": checkpoint.sha256},
        )
    return adapter


def _sizes(config: Config) -> Config:
    """What the shapes of layers follow from: how long and how large clips are in training does not matter."""
    return replace(config, transformer=replace(config.transformer, short_side=0, window=0, distilled=False))


def save(adapter: Adapter, path: Path) -> None:
    """Write one file, whole or not at all; tensors as float32."""
    tensors: dict[str, Tensor] = {}
    for name, (down_RI, up_OR) in adapter.pairs.items():
        tensors |= {name + DOWN: down_RI.float().contiguous(), name + UP: up_OR.float().contiguous()}
    values = (KIND, adapter.alpha, adapter.config.to_json(), adapter.base, adapter.trigger, dict(adapter.card))
    header = {key: json.dumps(value) for key, value in zip(HEADER, values, strict=True)}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=header)
    partial.replace(path)


def read(path: Path) -> Adapter:
    """An adapter as it was saved. Raises Unfit for a file that is missing, or something else."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise Unfit(f"{path} cannot be read as safetensors: {error}") from error
    try:
        values = {key: json.loads(header[key]) for key in HEADER}
        config, alpha = Config.from_json(values["config"]), float(values["alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unfit(f"{path} is no adapter of the embedded model") from error
    if not isfinite(alpha):
        raise Unfit(f"{path} has no finite strength")
    if values["kind"] != KIND:
        raise Unfit(f"{path} is an adapter of another kind: {values['kind']}")
    pairs = _pairs(tensors, path)
    return Adapter(pairs, alpha, config, str(values["base"]), str(values["trigger"]), values["card"])


def _pairs(tensors: Mapping[str, Tensor], path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The thin matrices by layer: two each, of one rank, with finite numbers."""
    names = sorted({name.removesuffix(DOWN).removesuffix(UP) for name in tensors})
    if set(tensors) != {name + end for name in names for end in (DOWN, UP)} or not names:
        raise Unfit(f"{path} does not hold a pair of matrices for each layer")
    pairs = {name: (tensors[name + DOWN], tensors[name + UP]) for name in names}
    if any(each.ndim != 2 for pair in pairs.values() for each in pair):
        raise Unfit(f"{path} holds something that is no matrix")
    ranks = {rank for down, up in pairs.values() for rank in (down.shape[0], up.shape[1])}
    if len(ranks) != 1 or 0 in ranks:
        raise Unfit(f"{path} has matrices of several ranks, or of none")
    if not all(bool(torch.isfinite(up @ down).all()) for down, up in pairs.values()):
        raise Unfit(f"{path} holds numbers that are not finite, or too large")
    return pairs
