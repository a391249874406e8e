"""What scope a route asks of a tenant's key: decided by its tag and by whether it changes anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from domain.errors import Forbidden
from domain.keys import Scope
from storage.keys import Caller

READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Needed:
    """To read, and to change. None: any key will do."""

    read: Scope | None
    write: Scope | None


_VIDEOS = Needed(Scope.VIDEOS_READ, Scope.VIDEOS_WRITE)
_ANY = Needed(None, None)
OF_TAG: dict[str, Needed] = {
    "videos": _VIDEOS,
    "characters": _VIDEOS,
    "batches": _VIDEOS,
    "files": Needed(Scope.FILES, Scope.FILES),
    "webhooks": Needed(Scope.WEBHOOKS, Scope.WEBHOOKS),
    "usage": Needed(Scope.USAGE, Scope.USAGE),
    "models": _ANY,
    "moderations": _ANY,
    "provenance": _ANY,
}


def refuse_beyond(caller: Caller, tags: Iterable[object], method: str) -> None:
    """Let a key with scopes pass only where they reach; a route that names none is closed to it. Raises Forbidden."""
    if not caller.scopes:
        return
    needed = next((OF_TAG[tag] for tag in tags if isinstance(tag, str) and tag in OF_TAG), None)
    if needed is None:
        raise Forbidden("This key is limited to scopes, none of which reaches this call.")
    scope = needed.read if method in READING else needed.write
    if scope is not None and not caller.may(scope):
        raise Forbidden(f"You have insufficient permissions for this operation. Missing scope: {scope}.")
