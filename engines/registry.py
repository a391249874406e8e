"""From a catalogue entry to a loaded engine. Models stay warm in a process as long as their weights find room."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

from domain.catalogue import Catalogue, Model
from domain.upstream import far_end
from engines import memory
from engines.protocol import Engine

log = logging.getLogger(__name__)


class Registry:
    """Loads engines on first use; torch is imported only when a model needs it."""

    def __init__(
        self,
        catalogue: Catalogue,
        root: Path,
        *,
        testcard_step_seconds: float = 0.0,
        weights_bytes: int | None = None,  # for all models together; None: half of the GPU's memory, or the machine's
        scratch: Path | None = None,  # where engines may keep files for a while; None: the system's temporary folder
    ) -> None:
        self._catalogue = catalogue
        self._root = root
        self._scratch = scratch
        self._testcard_step_seconds = testcard_step_seconds
        self._room = weights_bytes
        self._warm: OrderedDict[str, tuple[Engine, int]] = OrderedDict()  # least recently used first

    def engine(self, name: str) -> Engine:
        """The loaded model of that catalogue name. Raises NotFound for a name that nobody serves."""
        model = self._catalogue.find(name)
        if model.name not in self._warm:
            self._check(model)
            size = self._size(model)
            self._make_room(size)  # let go of old weights before new ones come in
            self._warm[model.name] = self._load(model), size
        self._warm.move_to_end(model.name)
        return self._warm[model.name][0]

    def _check(self, model: Model) -> None:
        """Raise what loading would raise, where that can be known before other models are unloaded for it."""
        if model.engine == "diffusers":
            from engines.diffusers import promises  # noqa: PLC0415 - brings torch and the library

            promises.check(model, self._root)

    def _size(self, model: Model) -> int:
        """Bytes of the model's weights on disk, which is about what they take in memory."""
        if not model.path or "://" in model.path:
            return 0
        return sum(file.stat().st_size for file in (self._root / model.path).glob("**/*.safetensors"))

    def _make_room(self, size: int) -> None:
        """Unload the models that were not used for longest, until the rest and `size` more fit."""
        if not any(held for _, held in self._warm.values()):
            return
        room = memory.for_weights() if self._room is None else self._room
        while self._warm and sum(held for _, held in self._warm.values()) + size > room:
            name, _ = self._warm.popitem(last=False)
            log.info("a model makes room for another", extra={"model": name})
        memory.give_back()

    def _load(self, model: Model) -> Engine:
        match model.engine:
            case "dit":
                from engines.dit.engine import DitEngine  # noqa: PLC0415 - brings torch

                loras = {name: self._root / path for name, path in model.loras.items()}
                return DitEngine.load(self._root / model.path, loras, **model.options)
            case "diffusers":
                from engines.diffusers.engine import DiffusersEngine  # noqa: PLC0415 - brings torch and the library

                return DiffusersEngine.load(model, self._root)
            case "testcard":
                from engines.testcard import TestcardEngine  # noqa: PLC0415 - only what is asked for

                return TestcardEngine(step_seconds=self._testcard_step_seconds)
            case "upstream":
                from engines.upstream.engine import UpstreamEngine  # noqa: PLC0415 - only what is asked for

                there = far_end(model.name, model.path, model.options, model.capabilities, model.steps)
                return UpstreamEngine.load(there, self._scratch)
            case unknown:
                raise ValueError(f"{model.name}: no engine is called {unknown!r}")
