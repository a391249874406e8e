"""States of training that travel between machines: parts of at most 16 MiB with a list of their hashes.

What travels is the averaged weights, matrices in bfloat16, with steps and minutes; the optimisers' moments stay behind
and are found again within a few hundred steps. The list can be checked without us: `sha256sum -c transformer.sha256`.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import hashlib
import io
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LIMIT = 16 * 1024 * 1024  # bytes of a part
LINE = re.compile(r"(?P<hash>[0-9a-f]{64}) [ *](?P<name>\S.*)")  # as sha256sum writes it


class Damaged(ValueError):
    """A state, a list or its parts are missing or not what they should be; the message says which and how."""


class Behind(Damaged):
    """What arrived has less training behind it than what it would replace."""


def pack(state: Path, folder: Path, limit: int = LIMIT) -> list[Path]:
    """Write `NAME.000`, `NAME.001`... and their list `NAME.sha256` for a state `NAME.pt`; the files, the list last.

    Raises FileNotFoundError if there is no such state, and Damaged.
    """
    stored = _stored(state, state)
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

    Raises FileNotFoundError without a list, Damaged, and Behind if the folder has a state with more minutes.
    """
    stored = _stored(io.BytesIO(b"".join(_parts(listed))), listed)
    state, partial = folder / f"{listed.stem}.pt", folder / f"{listed.stem}.partial"
    if (there := minutes_in(state)) > stored["spent"]:
        brought = f"{listed} brings {stored['spent']:.4g}"
        raise Behind(f"{state} has {there:.4g} minutes of training, and {brought}: move it away first")
    stored["average"] = {name: _full(value) for name, value in stored["average"].items()}
    stored["model"] = {name: value.clone() for name, value in stored["average"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(stored, partial)
    partial.replace(state)
    return state


def minutes_in(state: Path) -> float:
    """Minutes of training behind a state; 0 if there is none yet. Raises Damaged."""
    return float(_stored(state, state, mmap=True)["spent"]) if state.exists() else 0.0


def _parts(listed: Path) -> list[bytes]:
    """What the files of a list hold, in its order. Raises FileNotFoundError and Damaged."""
    pieces: list[bytes] = []
    for number, line in enumerate(listed.read_bytes().decode(errors="replace").splitlines(), 1):
        found = LINE.fullmatch(line)
        if found is None:
            raise Damaged(f"{listed} line {number} is not a SHA-256 and a name")
        part = listed.parent / Path(found["name"]).name
        if not part.is_file():
            raise Damaged(f"{part} is missing")
        pieces.append(part.read_bytes())
        if hashlib.sha256(pieces[-1]).hexdigest() != found["hash"]:
            raise Damaged(f"{part} is damaged: its SHA-256 is not the one in {listed.name}")
    if not pieces:
        raise Damaged(f"{listed} names no parts")
    return pieces


def _stored(source: Path | io.BytesIO, name: Path, *, mmap: bool = False) -> dict[str, Any]:
    """A state as `engines.dit.run` writes it. Raises Damaged, which says that `name` holds none, and OSError."""
    try:
        stored = torch.load(source, weights_only=True, map_location="cpu", mmap=mmap)
    except OSError:
        raise
    except Exception as error:  # whatever the bytes lead the reader to
        raise Damaged(f"{name} holds no state of training: it cannot be read") from error
    match stored:
        case {
            "average": dict() as average,
            "optimisers": list() as optimisers,
            "step": int(),
            "spent": float() as spent,
        }:
            weights = all(isinstance(each, Tensor) for each in average.values())
            groups = all(isinstance(each, dict) and "param_groups" in each for each in optimisers)
            if weights and groups and 0 <= spent < math.inf:
                return stored
    raise Damaged(f"{name} holds no state of training: average, optimisers, step or spent are not as they should be")


def _half(value: Tensor) -> Tensor:
    return value.bfloat16() if value.is_floating_point() and value.ndim > 1 else value


def _full(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
