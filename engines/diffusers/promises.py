"""An entry of models.toml held against its folder: all that can be known before any weights are read."""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from domain.catalogue import Model
from domain.video import Size
from engines.diffusers import adapters, families, folder, options
from engines.diffusers.families import Outline, Task
from engines.diffusers.folder import Folder
from engines.diffusers.library import pipeline_class
from engines.diffusers.options import Options
from engines.diffusers.refusal import Refused


def check(model: Model, root: Path) -> tuple[Options, Folder]:
    """What the entry asks for, and its folder. Raises Refused, which says what to change; reads no weights."""
    asked = options.parse(model.name, model.options)
    device(asked, model.name)
    found = folder.look(root / model.path)
    hold(model, Outline(pipeline_class(found.pipeline), found.config, found.network), asked)
    adapters.files(model, root)
    return asked, found


def hold(model: Model, outline: Outline, asked: Options) -> None:
    """Raises Refused for an entry that promises what the pipeline cannot do."""
    kind, offered = outline.kind.__name__, capabilities(outline)
    if not families.own_tasks(outline) and not families.shared_tasks(outline):
        raise Refused(f"{model.name}: {kind} takes neither a prompt nor a picture nor a clip by itself")
    if wrong := sorted(model.capabilities - offered):
        raise Refused(
            f"{model.name}: {kind} cannot do {', '.join(wrong)}; capabilities may list {', '.join(sorted(offered))}"
        )
    if model.loras and "loras" not in offered:
        raise Refused(f"{model.name}: {kind} takes no adapters, and the entry names {', '.join(sorted(model.loras))}")
    if asked.window and "extend" not in offered:
        raise Refused(f"{model.name}: option window needs a model that goes on from a first frame")
    for size in model.sizes.values():
        Size.parse(size)


def capabilities(outline: Outline) -> frozenset[str]:
    """All that an entry for these weights may list."""
    known, shared = families.parameters(outline.kind), families.shared_tasks(outline)
    tasks = families.own_tasks(outline) | set(shared)
    found = {"fps", "shots"}
    found |= {"text"} if Task.TEXT in tasks else set()
    if Task.IMAGE in tasks or Task.FRAMES in tasks:
        of_images = replace(outline, kind=pipeline_class(shared[Task.IMAGE])) if Task.IMAGE in shared else outline
        both = Task.IMAGE in tasks and families.takes_last_image(of_images)
        found |= {"first_frame"} | ({"last_frame"} if both or Task.FRAMES in tasks else set())
        found |= set() if Task.IMAGE in tasks and families.needs_last_image(of_images) else {"extend"}
    found |= {"keyframes"} if Task.FRAMES in tasks else set()
    found |= {"video", "mask"} if Task.VIDEO in tasks else set()
    found |= {"negative_prompt"} if "negative_prompt" in known else set()
    found |= {"style"} if "prompt" in known else set()
    found |= {"loras"} if hasattr(outline.kind, "load_lora_weights") else set()
    return frozenset(found)


def device(asked: Options, name: str) -> str:
    """Where the model runs. Raises Refused for a GPU that is not there."""
    there = torch.cuda.is_available()
    if asked.device == "cuda" and not there:
        raise Refused(f"{name}: option device is cuda and torch finds no GPU: is it the CUDA build, with a driver?")
    return asked.device if asked.device != "auto" else ("cuda" if there else "cpu")
