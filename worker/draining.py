"""Whether a worker takes no more work: it leaves for good, or an operator keeps it at rest until told otherwise."""

from __future__ import annotations

import threading


class Draining:
    """Set by a signal it stays set. What was asked for in the database ends when that ends."""

    def __init__(self) -> None:
        self._leaving = threading.Event()
        self._asked = False

    def set(self) -> None:
        """The process leaves."""
        self._leaving.set()

    def ask(self, *, rest: bool) -> bool:
        """What an operator wants now. Whether that is new."""
        changed, self._asked = rest != self._asked, rest
        return changed

    def is_set(self) -> bool:
        """Whether no more work is to be taken."""
        return self._asked or self._leaving.is_set()

    @property
    def asked(self) -> bool:
        """Whether an operator wants it to rest."""
        return self._asked

    @property
    def resting(self) -> bool:
        """Whether it may take work again one day."""
        return self._asked and not self._leaving.is_set()

    def leaves_within(self, seconds: float) -> bool:
        """Wait, at most so long, for the process to leave. Not for threads that take signals: they may hold no lock."""
        return self._leaving.wait(seconds)
