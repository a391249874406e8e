"""From an entry of models.toml to pipelines that share one set of weights, checked against what the entry promises."""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from domain.catalogue import Model
from domain.video import Size
from engines.diffusers import families, folder, options
from engines.diffusers.families import Grid, Task
from engines.diffusers.library import VERSION, pipeline_class
from engines.diffusers.options import Options
from engines.diffusers.refusal import Refused
from engines.diffusers.tuning import Facts, place
from engines.diffusers.watch import Watch


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, placed and not yet tuned."""

    name: str
    base: Any  # the pipeline that model_index.json names
    pipelines: dict[Task, Any]  # of the same weights; the base is among them
    watch: Watch
    grid: Grid
    options: Options
    device: str
    facts: Facts
    checkpoint: str
    loras: frozenset[str]


def load(model: Model, root: Path) -> Loaded:
    """Raises Refused, which says what to change, for a folder or an entry that cannot be served."""
    asked = options.parse(model.name, model.options)
    found = folder.look(root / model.path)
    dtype = _dtype(asked, _device(asked, model.name))
    return prepare(model, root, asked, _read(found, dtype), found.checkpoint)


def prepare(model: Model, root: Path, asked: Options, base: Any, checkpoint: str) -> Loaded:
    """A pipeline that was read, checked and placed, with its siblings. Raises Refused."""
    device = _device(asked, model.name)
    dtype = _dtype(asked, device)
    pipelines: dict[Task, Any] = dict.fromkeys(families.own_tasks(base), base)
    for task, target in families.shared_tasks(base).items():
        pipelines[task] = pipeline_class(target).from_pipe(base, dtype=dtype)
    for pipeline in {id(each): each for each in (base, *pipelines.values())}.values():
        pipeline.set_progress_bar_config(disable=True)
    _check(model, base, pipelines, asked)
    _adapt(model, base, root)
    facts = Facts({"library": f"diffusers {VERSION}", "pipeline": type(base).__name__, "device": device})
    facts.in_force["dtype"] = str(dtype).removeprefix("torch.")
    place(base, asked, device, facts, model.name)
    watch, grid, loras = Watch(base, layers=not asked.compile), families.grid(base), frozenset(model.loras)
    return Loaded(model.name, base, pipelines, watch, grid, asked, device, facts, checkpoint, loras)


def capabilities(base: Any, pipelines: dict[Task, Any]) -> frozenset[str]:
    """All that an entry for these weights may list."""
    known = families.parameters(base)
    found = {"fps", "shots"}
    found |= {"text"} if Task.TEXT in pipelines else set()
    if Task.IMAGE in pipelines or Task.FRAMES in pipelines:
        both = Task.IMAGE in pipelines and families.takes_last_image(pipelines[Task.IMAGE])
        found |= {"first_frame"} | ({"last_frame"} if both or Task.FRAMES in pipelines else set())
        found |= set() if Task.IMAGE in pipelines and families.needs_last_image(pipelines[Task.IMAGE]) else {"extend"}
    found |= {"keyframes"} if Task.FRAMES in pipelines else set()
    found |= {"video", "mask"} if Task.VIDEO in pipelines else set()
    found |= {"negative_prompt"} if "negative_prompt" in known else set()
    found |= {"style"} if "prompt" in known else set()
    found |= {"loras"} if hasattr(base, "load_lora_weights") else set()
    return frozenset(found)


def _device(asked: Options, name: str) -> str:
    there = torch.cuda.is_available()
    if asked.device == "cuda" and not there:
        raise Refused(f"{name}: option device is cuda and torch finds no GPU: is it the CUDA build, with a driver?")
    return asked.device if asked.device != "auto" else ("cuda" if there else "cpu")


def _dtype(asked: Options, device: str) -> torch.dtype:
    if asked.dtype != "auto":
        return getattr(torch, asked.dtype)
    return torch.bfloat16 if device == "cuda" else torch.float32


def _read(found: folder.Folder, dtype: torch.dtype) -> Any:
    """Weights into main memory, from this folder and from safetensors alone."""
    kind = pipeline_class(found.pipeline)
    try:
        return kind.from_pretrained(str(found.path), dtype=dtype, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        raise Refused(f"{found.path} cannot be loaded as {found.pipeline} by diffusers {VERSION}: {error}") from error


def _check(model: Model, base: Any, pipelines: dict[Task, Any], asked: Options) -> None:
    """The entry promises nothing that the weights cannot do."""
    offered = capabilities(base, pipelines)
    if not pipelines:
        raise Refused(f"{model.name}: {type(base).__name__} takes neither a prompt nor a picture nor a clip by itself")
    if wrong := sorted(model.capabilities - offered):
        raise Refused(
            f"{model.name}: {type(base).__name__} cannot do {', '.join(wrong)}; capabilities may list "
            f"{', '.join(sorted(offered))}"
        )
    if asked.window and "extend" not in offered:
        raise Refused(f"{model.name}: option window needs a model that goes on from a first frame")
    for size in model.sizes.values():
        Size.parse(size)


def _adapt(model: Model, base: Any, root: Path) -> None:
    """All adapters that the entry names, switched off."""
    for name, path in model.loras.items():
        file = root / path
        if file.suffix != ".safetensors" or not file.is_file():
            raise Refused(f"{model.name}: the adapter {name} must be a *.safetensors file, and {file} is none")
        base.load_lora_weights(
            str(file.parent), weight_name=file.name, adapter_name=name, local_files_only=True, use_safetensors=True
        )
    if model.loras:
        base.disable_lora()
