"""Whose key came with a request, remembered for so short a time that a revocation is felt at once."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from domain.keys import digest
from storage import admin_keys, keys
from storage.admin_keys import AdminKey
from storage.database import Connection, Database
from storage.keys import Caller

log = logging.getLogger(__name__)

REMEMBER_SECONDS = 5.0
MOST_REMEMBERED = 10_000
WRITE_SECONDS = 10.0


class Owner(Protocol):
    """Whoever a key stands for."""

    @property
    def key_id(self) -> UUID:
        """Which key it was."""
        ...

    @property
    def pepper_id(self) -> str:
        """Under which pepper it is stored."""
        ...


Known = TypeVar("Known", bound=Owner)
LookUp = Callable[[Connection, str, Mapping[str, bytes]], Known | None]
NoteUses = Callable[[Connection, Mapping[UUID, bytes | None], str], None]


class KeyRing(Generic[Known]):
    """Looks keys up, and keeps the answers for a few seconds. Threads share it; a lost entry costs one look-up."""

    def __init__(
        self,
        database: Database,
        peppers: Mapping[str, bytes],
        look_up: LookUp[Known],
        note_uses: NoteUses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._peppers = peppers
        self._newest = next(iter(peppers))
        self._look_up = look_up
        self._note_uses = note_uses
        self._clock = clock
        self._known: dict[bytes, tuple[float, Known]] = {}
        self._used: dict[UUID, bytes | None] = {}

    def identify(self, key: str) -> Known | None:
        """None if the key is nobody's, expired or revoked. Refusals are not remembered: a new key works at once."""
        name = hashlib.sha256(key.encode()).digest()
        until, owner = self._known.get(name, (0.0, None))
        if owner is None or self._clock() >= until:
            with self._database.transaction_for_any_tenant() as connection:
                owner = self._look_up(connection, key, self._peppers)
            if owner is None:
                self._known.pop(name, None)
                return None
            self._remember(name, owner)
            if owner.pepper_id != self._newest:
                self._used[owner.key_id] = digest(key, self._peppers[self._newest])
        self._used.setdefault(owner.key_id, None)
        return owner

    def write_uses(self) -> None:
        """Write down which keys were used since the last time; no request waits for it. Raises `storage.outages`."""
        taken, self._used = self._used, {}
        used = dict(taken)  # a thread that was between two steps may still write into the old one
        if used:
            with self._database.transaction_for_any_tenant() as connection:
                self._note_uses(connection, used, self._newest)

    def _remember(self, name: bytes, owner: Known) -> None:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = (self._clock() + REMEMBER_SECONDS, owner)


def of_tenants(
    database: Database, peppers: Mapping[str, bytes], clock: Callable[[], float] = time.monotonic
) -> KeyRing[Caller]:
    """Keys that open /v1."""
    return KeyRing(database, peppers, keys.identify_for_any_tenant, keys.note_uses_for_any_tenant, clock)


def of_administrators(
    database: Database, peppers: Mapping[str, bytes], clock: Callable[[], float] = time.monotonic
) -> KeyRing[AdminKey]:
    """Keys that open /admin/v1."""
    return KeyRing(database, peppers, admin_keys.identify_for_any_tenant, admin_keys.note_uses_for_any_tenant, clock)


class Scribe:
    """One thread that writes the uses of all rings down every few seconds, and at the end."""

    def __init__(self, rings: Iterable[KeyRing[Caller] | KeyRing[AdminKey]], every: float = WRITE_SECONDS) -> None:
        self._rings = tuple(rings)
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-uses", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and let the thread end."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            self._write()
        self._write()

    def _write(self) -> None:
        for ring in self._rings:
            try:
                ring.write_uses()
            except Exception as error:  # noqa: BLE001 - a use is written at the next one; this thread must never end
                log.warning("uses of keys could not be written", extra={"error": type(error).__name__})
