"""The file by which scripts and tests find a running system: facts, and the living processes by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.embedded.private import write_private_json


class StateFile:
    """A JSON file that says what runs here; appears when the servers answer, disappears when they stop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts: dict[str, Any] = {}
        self._processes: dict[str, list[int]] = {}

    def on_change(self, processes: Mapping[str, list[int]]) -> None:
        """The supervisor's news."""
        self._processes = dict(processes)
        if self._facts:
            self._write()

    def publish(self, facts: Mapping[str, Any]) -> None:
        """Says that everything answers, and where. Raises OSError."""
        self._facts = dict(facts)
        self._write()

    def begin(self) -> None:
        """Removes what a killed predecessor left; only for whoever owns the data directory."""
        self.path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Says that nothing runs any more, if we ever said that something does: the file may be another's."""
        if self._facts:
            self._facts = {}
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_private_json(self.path, {**self._facts, "processes": self._processes})
