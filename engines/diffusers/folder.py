"""A model's folder, looked at before anything in it is loaded: what may be read, and what its weights are."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from engines.diffusers.refusal import Refused

log = logging.getLogger(__name__)

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
LIBRARIES = frozenset({"diffusers", "transformers"})
WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "Processor", "FeatureExtractor", "Guidance")  # in the names of classes
INDEX = "model_index.json"
HASHES = ".kinema-hashes.json"
BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that may be loaded."""

    path: Path
    pipeline: str  # the class that model_index.json names
    weights: tuple[Path, ...]  # every safetensors file that belongs to a component
    config: Mapping[str, Any]  # what else model_index.json says
    network: Mapping[str, Any]  # the transformer's configuration; empty if there is none

    @property
    def size(self) -> int:
        """Bytes of all weights on disk."""
        return sum(path.stat().st_size for path in self.weights)

    @property
    def checkpoint(self) -> str:
        """SHA-256 in hex over names and hashes of the weight files.

        A file's hash is kept beside the model with its size and time, so that tens of gigabytes are read once; where
        the folder cannot be written, they are read at each load.
        """
        known = _kept(self.path / HASHES)
        hashes: dict[str, list[Any]] = {}
        for path in self.weights:
            name, found = path.relative_to(self.path).as_posix(), path.stat()
            stamp = [found.st_size, found.st_mtime_ns]
            before = known.get(name, [])
            hashes[name] = before if before[:2] == stamp and len(before) == 3 else [*stamp, _sha256(path)]
        if hashes != known:
            _keep(self.path / HASHES, hashes)
        lines = "".join(f"{name} {entry[2]}\n" for name, entry in sorted(hashes.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def look(path: Path) -> Folder:
    """Raises Refused for a folder that is missing, incomplete, or would need pickles or foreign code."""
    if not path.is_dir():
        raise Refused(
            f"{path} is no folder. Models are read from this machine only: download the repository with all of its "
            "folders, and let `path` in models.toml name it"
        )
    if not (path / INDEX).is_file():
        raise Refused(
            f"{path} has no {INDEX}. A folder in the layout of diffusers is needed, not a single checkpoint file; "
            "many models are published in both, the fitting one often as <name>-Diffusers"
        )
    index = _read(path / INDEX)
    pipeline = index.pop("_class_name", None)
    if not isinstance(pipeline, str):
        raise Refused(f"{path / INDEX} names no pipeline of the library ({pipeline!r}); foreign code is never run")
    weights: list[Path] = []
    for name, entry in index.items():
        if isinstance(entry, list) and (named := cast("list[Any]", entry)) and named[0] is not None:
            weights += _component(path / name, named)
    if not weights:
        raise Refused(f"{path} has no weights: no component has a *.safetensors file")
    return Folder(path, pipeline, tuple(sorted(weights)), index, _read(path / "transformer" / "config.json"))


def _component(path: Path, entry: list[Any]) -> Iterator[Path]:
    """Its weight files."""
    library, kind = entry[0], entry[1] if len(entry) > 1 else None
    if library not in LIBRARIES or not isinstance(kind, str):
        raise Refused(f"{path} wants code of its own ({library}.{kind}); foreign code is never run")
    for config in sorted(path.glob("*config.json")):
        if "auto_map" in _read(config):
            raise Refused(f"{config} wants code of its own (auto_map); foreign code is never run")
    found = sorted(path.glob("*.safetensors"))
    if not found and not any(part in kind for part in WITHOUT_WEIGHTS):
        pickles = [each.name for each in sorted(path.glob("*")) if each.suffix in PICKLES]
        if pickles:
            raise Refused(
                f"{path} has weights as pickles ({pickles[0]}), which can run code when they are read. Load the model "
                "once on a machine that may do that, and save it with save_pretrained(..., safe_serialization=True)"
            )
        raise Refused(f"{path} has no *.safetensors file; the download is incomplete")
    yield from found


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, empty if it is not there. Raises Refused if it is no object."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Refused(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused(f"{path} holds no JSON object")
    return cast("dict[str, Any]", found)


def _kept(path: Path) -> dict[str, Any]:
    try:
        return _read(path)
    except Refused:  # half written
        return {}


def _keep(path: Path, hashes: dict[str, list[Any]]) -> None:
    try:
        path.write_text(json.dumps(hashes, indent=1))
    except OSError as error:
        log.info("hashes of weights are not kept, so each load reads all of them", extra={"reason": str(error)})


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
