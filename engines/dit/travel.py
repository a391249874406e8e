"""States of training that travel between machines: parts of at most 16 MiB with a list of their hashes.

What travels is the averaged weights, matrices in bfloat16, with steps and minutes; the optimisers' moments stay behind
and are found again within a few hundred steps. The list can be checked without us: `sha256sum -c transformer.sha256`.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LIMIT = 16 * 1024 * 1024  # bytes of a part


class Damaged(ValueError):
    """Parts are missing or are not what their list says; the message says which."""


def pack(state: Path, folder: Path, limit: int = LIMIT) -> list[Path]:
    """Write `NAME.000`, `NAME.001`... and their list `NAME.sha256` for a state `NAME.pt`; the files, the list last.

    Raises FileNotFoundError if there is no such state.
    """
    stored: dict[str, Any] = torch.load(state, weights_only=True, map_location="cpu")
    light = {name: value for name, value in stored.items() if name != "model"}
    light["optimisers"] = [{"state": {}, "param_groups": each["param_groups"]} for each in stored["optimisers"]]
    light["average"] = {name: _half(value) for name, value in stored["average"].items()}
    written = io.BytesIO()
    torch.save(light, written)
    data = written.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{state.stem}.[0-9][0-9][0-9]"):
        old.unlink()
    parts = [folder / f"{state.stem}.{number:03}" for number in range(-(-len(data) // limit))]
    for number, part in enumerate(parts):
        part.write_bytes(data[number * limit : (number + 1) * limit])
    listed = folder / f"{state.stem}.sha256"
    listed.write_text("".join(f"{hashlib.sha256(part.read_bytes()).hexdigest()}  {part.name}\n" for part in parts))
    return [*parts, listed]


def unpack(listed: Path, folder: Path) -> Path:
    """Join the parts that a list names, checked, into a state in `folder`; the state's file.

    Raises FileNotFoundError without a list, and Damaged.
    """
    pieces: list[bytes] = []
    for line in listed.read_text().splitlines():
        wanted, name = line.split("  ", 1)
        part = listed.parent / Path(name).name
        if not part.is_file():
            raise Damaged(f"{part} is missing")
        pieces.append(part.read_bytes())
        if hashlib.sha256(pieces[-1]).hexdigest() != wanted:
            raise Damaged(f"{part} is damaged: its SHA-256 is not the one in {listed.name}")
    stored: dict[str, Any] = torch.load(io.BytesIO(b"".join(pieces)), weights_only=True, map_location="cpu")
    stored["average"] = {name: _full(value) for name, value in stored["average"].items()}
    stored["model"] = {name: value.clone() for name, value in stored["average"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    state, partial = folder / f"{listed.stem}.pt", folder / f"{listed.stem}.partial"
    torch.save(stored, partial)
    partial.replace(state)
    return state


def minutes_in(state: Path) -> float:
    """Minutes of training behind a state; 0 if there is none yet."""
    return float(torch.load(state, weights_only=True, mmap=True)["spent"]) if state.exists() else 0.0


def _half(value: Tensor) -> Tensor:
    return value.bfloat16() if value.is_floating_point() and value.ndim > 1 else value


def _full(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
