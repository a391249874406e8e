"""Whose key came with a request, remembered for so short a time that a revocation is felt at once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping

from storage import keys
from storage.database import Database
from storage.keys import Caller

REMEMBER_SECONDS = 5.0
MOST_REMEMBERED = 10_000


class KeyRing:
    """Looks keys up, and keeps the answers for a few seconds. Threads share it; a lost entry costs one look-up."""

    def __init__(
        self, database: Database, peppers: Mapping[str, bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._peppers = peppers
        self._clock = clock
        self._known: dict[bytes, tuple[float, Caller]] = {}

    def identify(self, key: str) -> Caller | None:
        """None if the key is nobody's, expired or revoked. Refusals are not remembered: a new key works at once."""
        name = hashlib.sha256(key.encode()).digest()
        until, caller = self._known.get(name, (0.0, None))
        if caller is not None and self._clock() < until:
            return caller
        with self._database.transaction_for_any_tenant() as connection:
            caller = keys.identify_for_any_tenant(connection, key, self._peppers)
        if caller is not None:
            self._remember(name, caller)
        return caller

    def _remember(self, name: bytes, caller: Caller) -> None:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = (self._clock() + REMEMBER_SECONDS, caller)
