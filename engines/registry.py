"""From a catalogue entry to a loaded engine. One model stays warm per process."""

from __future__ import annotations

from pathlib import Path

from domain.catalogue import Catalogue, Model
from domain.upstream import far_end
from engines.protocol import Engine


class Registry:
    """Loads engines on first use; torch is imported only when a model needs it."""

    def __init__(
        self,
        catalogue: Catalogue,
        root: Path,
        *,
        testcard_step_seconds: float = 0.0,
        scratch: Path | None = None,  # where engines may keep files for a while; None: the system's temporary folder
    ) -> None:
        self._catalogue = catalogue
        self._root = root
        self._scratch = scratch
        self._testcard_step_seconds = testcard_step_seconds
        self._warm: tuple[str, Engine] | None = None

    def engine(self, name: str) -> Engine:
        """The loaded model of that catalogue name. Raises NotFound for a name that nobody serves."""
        if self._warm is None or self._warm[0] != name:
            self._warm = None  # let go of the old weights before the new ones come in
            self._warm = (name, self._load(self._catalogue.find(name)))
        return self._warm[1]

    def _load(self, model: Model) -> Engine:
        match model.engine:
            case "dit":
                from engines.dit.engine import DitEngine  # noqa: PLC0415 - brings torch

                return DitEngine.load(self._root / model.path)
            case "testcard":
                from engines.testcard import TestcardEngine  # noqa: PLC0415 - only what is asked for

                return TestcardEngine(step_seconds=self._testcard_step_seconds)
            case "upstream":
                from engines.upstream.engine import UpstreamEngine  # noqa: PLC0415 - only what is asked for

                there = far_end(model.name, model.path, model.options, model.capabilities, model.steps)
                return UpstreamEngine.load(there, self._scratch)
            case unknown:
                raise ValueError(f"{model.name}: no engine is called {unknown!r}")
