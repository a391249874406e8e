"""From an entry of models.toml to pipelines that share one set of weights, checked against what the entry promises."""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from domain.catalogue import Model
from engines.diffusers import adapters, families, folder, promises
from engines.diffusers.families import Grid, Outline, Task
from engines.diffusers.library import VERSION, pipeline_class
from engines.diffusers.options import Options
from engines.diffusers.refusal import Refused
from engines.diffusers.tuning import Facts, place
from engines.diffusers.watch import Watch

UNREADABLE = (  # what the library raises for a folder that it cannot read, whichever component is at fault
    OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError, SafetensorError,
)  # fmt: skip


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
    loras: dict[str, str]  # the name that the pipeline has for each of the entry


def load(model: Model, root: Path) -> Loaded:
    """Raises Refused, which says what to change, for a folder or an entry that cannot be served."""
    asked, found = promises.check(model, root)
    dtype = _dtype(asked, promises.device(asked, model.name))
    return prepare(model, root, asked, _read(found, dtype), found.checkpoint)


def prepare(model: Model, root: Path, asked: Options, base: Any, checkpoint: str) -> Loaded:
    """A pipeline that was read, checked and placed, with its siblings. Raises Refused."""
    device, outline = promises.device(asked, model.name), Outline.of(base)
    promises.hold(model, outline, asked)
    dtype = _dtype(asked, device)
    pipelines: dict[Task, Any] = dict.fromkeys(families.own_tasks(outline), base)
    for task, target in families.shared_tasks(outline).items():
        pipelines[task] = pipeline_class(target).from_pipe(base, dtype=dtype)
    for pipeline in {id(each): each for each in (base, *pipelines.values())}.values():
        pipeline.set_progress_bar_config(disable=True)
    loras = adapters.load(model, base, root)
    facts = Facts({"library": f"diffusers {VERSION}", "pipeline": type(base).__name__, "device": device})
    facts.in_force["dtype"] = str(dtype).removeprefix("torch.")
    place(base, asked, device, facts, model.name)
    watch, grid = Watch(base, layers=not asked.compile), families.grid(base)
    return Loaded(model.name, base, pipelines, watch, grid, asked, device, facts, checkpoint, loras)


def _dtype(asked: Options, device: str) -> torch.dtype:
    if asked.dtype != "auto":
        return getattr(torch, asked.dtype)
    return torch.bfloat16 if device == "cuda" else torch.float32


def _read(found: folder.Folder, dtype: torch.dtype) -> Any:
    """Weights into main memory, from this folder and from safetensors alone."""
    kind = pipeline_class(found.pipeline)
    try:
        return kind.from_pretrained(str(found.path), dtype=dtype, local_files_only=True, use_safetensors=True)
    except UNREADABLE as error:
        raise Refused(f"{found.path} cannot be loaded as {found.pipeline} by diffusers {VERSION}: {error}") from error
