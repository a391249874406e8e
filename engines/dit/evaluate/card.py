"""What a checkpoint says of itself, and the exam's table, written into the model card."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from engines.dit import checkpoint as checkpoints
from engines.dit.checkpoint import FILES, Checkpoint
from engines.dit.evaluate.report import markdown

BLOCK = "<!-- {0}: begin -->\n{1}<!-- {0}: end -->"
MADE, MEASURED = "made", "measured"


def fill(card: Path, weights: Path, report: Mapping[str, Any]) -> None:
    """Write both blocks of the model card anew. Raises ValueError if one is missing."""
    text = card.read_text()
    for name, content in ((MADE, made(checkpoints.load(weights), weights)), (MEASURED, markdown(report))):
        text = replaced(text, name, content)
    card.write_text(text)


def replaced(text: str, name: str, content: str) -> str:
    """The text with the block of that name written anew. Raises ValueError if there is no such block."""
    found = re.search(BLOCK.format(name, ".*?"), text, re.DOTALL)
    if found is None:
        raise ValueError(f"no block {name!r} in the model card")
    return text[: found.start()] + BLOCK.format(name, f"\n{content}\n\n") + text[found.end() :]


def made(networks: Checkpoint, weights: Path) -> str:
    """Sizes from the networks, training from the card that the checkpoint carries."""
    config = networks.config.transformer
    size = sum((weights / name).stat().st_size for name in FILES) / 1e6
    rows = [
        ("checkpoint", f"`{networks.sha256[:12]}`, {size:.1f} MB"),
        ("autoencoder", f"{millions(networks.codec)} parameters"),
        ("denoiser", f"{millions(networks.transformer)} parameters, width {config.width}, depth {config.depth}"),
        ("· of which text encoder", f"{millions(networks.transformer.text)} parameters"),
        ("draws", f"{config.short_side} pixels on the short side, {1 + 4 * (config.window - 1)} frames in a window"),
        *((f"training, {stage}", told_of(told)) for stage, told in networks.card.items()),
    ]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def told_of(entry: Any) -> str:
    """What the card says of a stage, as words."""
    return ", ".join(f"{name} {value}" for name, value in entry.items()) if isinstance(entry, dict) else str(entry)


def millions(network: nn.Module) -> str:
    """How many numbers are learned."""
    return f"{sum(each.numel() for each in network.parameters()) / 1e6:.1f}M"
