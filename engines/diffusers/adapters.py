"""Adapters of an entry: files of safetensors, loaded with the model and worn only by requests that name them."""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from domain.catalogue import Model
from engines.diffusers.refusal import Refused


def files(model: Model, root: Path) -> dict[str, Path]:
    """By the names that clients use. Raises Refused for what is no readable file of safetensors."""
    found = {name: root / path for name, path in model.loras.items()}
    for name, file in found.items():
        if file.suffix != ".safetensors" or not file.is_file():
            raise Refused(f"{model.name}: the adapter {name} must be a *.safetensors file, and {file} is none")
        try:
            with safe_open(str(file), "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise Refused(f"{model.name}: the adapter {name} cannot be read, {file} is damaged: {error}") from error
    return found


def load(model: Model, base: Any, root: Path) -> dict[str, str]:
    """All of them onto the pipeline, switched off; gives the name that the pipeline has for each. Raises Refused."""
    # Names of ours, since parts of the library cannot do with every character, such as a dot.
    known = {name: f"adapter{number}" for number, name in enumerate(model.loras)}
    for name, file in files(model, root).items():
        about = f"{model.name}: the adapter {name} ({file}) does not fit {type(base).__name__}"
        try:
            base.load_lora_weights(
                str(file.parent), weight_name=file.name, adapter_name=known[name], local_files_only=True,
                use_safetensors=True,
            )  # fmt: skip
        except Exception as error:
            # Each family converts files in its own way and fails in its own way; all of them mean the same.
            raise Refused(f"{about}: {type(error).__name__}: {error}") from error
        if not any(known[name] in worn for worn in base.get_list_adapters().values()):
            raise Refused(f"{about}: none of its weights belongs to a layer of the model")
    if known:
        base.disable_lora()
    return known
