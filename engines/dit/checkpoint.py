"""Weights on disk: two safetensors files that say themselves which networks they belong to.

`codec.safetensors` is bfloat16. `transformer.safetensors` keeps its large matrices as int8 with one bfloat16 scale a
row (a third of a per cent of error for half the size), the rest as bfloat16; everything becomes float32 at load.
The header of the transformer's file holds the sizes, the vocabulary and the training card.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from engines.dit.codec import Codec
from engines.dit.conditioning import CONTROLS
from engines.dit.config import Config
from engines.dit.model import Transformer
from engines.dit.text import Vocabulary

WEIGHTS = Path(__file__).parent / "weights"
FILES = ("codec.safetensors", "transformer.safetensors")
SCALE = "|scale"  # ending of the name of a matrix's scales
LARGE = 10_000  # numbers from which on a matrix is kept as int8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Networks ready for use, and where they come from. `sha256` is empty for weights that were never saved."""

    config: Config
    codec: Codec
    transformer: Transformer
    vocabulary: Vocabulary
    card: dict[str, Any]
    sha256: str


def fresh(config: Config, words: list[str], seed: int = 0) -> Checkpoint:
    """Untrained networks, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vocabulary = Vocabulary(words, config.text)
        codec, transformer = Codec(config.codec), Transformer(config, vocabulary.rows)
    return Checkpoint(config, codec.eval(), transformer.eval(), vocabulary, {}, "")


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    codec = {name: value.bfloat16().contiguous() for name, value in checkpoint.codec.state_dict().items()}
    header = {
        "config": json.dumps(checkpoint.config.to_json()),
        "words": json.dumps(checkpoint.vocabulary.words),
        "card": json.dumps(checkpoint.card),
    }
    save_file(codec, folder / FILES[0])
    save_file(pack(checkpoint.transformer.state_dict()), folder / FILES[1], metadata=header)


def load(folder: Path = WEIGHTS) -> Checkpoint:
    """Read both files. Raises FileNotFoundError if one is missing, ValueError if they are not ours."""
    with safe_open(folder / FILES[1], framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if not {"config", "words", "card"} <= header.keys():
        raise ValueError(f"{folder / FILES[1]} has no description of its networks")
    checkpoint = fresh(Config.from_json(json.loads(header["config"])), json.loads(header["words"]))
    checkpoint.transformer.load_state_dict(grown(unpack(tensors), checkpoint.transformer))
    with safe_open(folder / FILES[0], framework="pt") as file:
        checkpoint.codec.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118 - no mapping
    return Checkpoint(
        checkpoint.config,
        checkpoint.codec,
        checkpoint.transformer,
        checkpoint.vocabulary,
        json.loads(header["card"]),
        digest(folder),
    )


def digest(folder: Path) -> str:
    """SHA-256 over both files, in hex."""
    total = hashlib.sha256()
    for name in FILES:
        total.update((folder / name).read_bytes())
    return total.hexdigest()


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Float weights -> int8 matrices with scales, bfloat16 for the rest."""
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim == 2 and value.numel() >= LARGE:
            scale = (value.abs().amax(1, keepdim=True) / 127).clamp(min=1e-8).bfloat16()
            packed[name] = (value / scale.float()).round().clamp(-127, 127).to(torch.int8)
            packed[name + SCALE] = scale
        else:
            packed[name] = value.bfloat16().contiguous()
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `pack`."""
    return {
        name: value.float() * packed[name + SCALE].float() if name + SCALE in packed else value.float()
        for name, value in packed.items()
        if not name.endswith(SCALE)
    }


def grown(state: dict[str, Tensor], model: Transformer) -> dict[str, Tensor]:
    """Weights of a network with fewer inputs, for one with more: what is new has no effect yet.

    One mark for a token becomes one for each of its positions. Raises RuntimeError as `load_state_dict` does, later,
    for what differs in any other way.
    """
    wanted, state = model.state_dict(), dict(state)
    state.setdefault("steer.weight", torch.zeros_like(wanted["steer.weight"]))
    more = wanted["steer.weight"].shape[1] - state["steer.weight"].shape[1]
    state["steer.weight"] = functional.pad(state["steer.weight"], (0, more))
    state = {
        **{name: value for name, value in wanted.items() if name.startswith("finish.") or ".near." in name},
        **state,
    }
    enter, marks = state["enter.weight"], wanted["enter.weight"].shape[1] - state["enter.weight"].shape[1] + 1
    if marks > 1:
        state["enter.weight"] = torch.cat([enter[:, :-1], enter[:, -1:].expand(-1, marks) / marks], 1)
    place = state["place.weight"]
    state["place.weight"] = functional.pad(place, (0, wanted["place.weight"].shape[1] - place.shape[1]))
    return state


def student(teacher: Checkpoint) -> Checkpoint:
    """The same networks with room for what a distilled one is told besides; nothing that they answer changes."""
    config = replace(teacher.config, transformer=replace(teacher.config.transformer, controls=CONTROLS, distilled=True))
    made = fresh(config, list(teacher.vocabulary.words))
    made.codec.load_state_dict(teacher.codec.state_dict())
    made.transformer.load_state_dict(grown(teacher.transformer.state_dict(), made.transformer))
    return made


def adopt(networks: Checkpoint, known: Checkpoint) -> None:
    """Put the transformer of `known` into new networks of the same sizes: words that both know keep their meaning."""
    state, old = known.transformer.state_dict(), known.vocabulary
    table = networks.transformer.text.table.weight.detach().clone()
    for word, row in networks.vocabulary.row.items():
        if word in old.row:
            table[row] = state["text.table.weight"][old.row[word]]
    hashed = networks.config.text.buckets
    table[-hashed:] = state["text.table.weight"][-hashed:]
    networks.transformer.load_state_dict(grown({**state, "text.table.weight": table}, networks.transformer))
