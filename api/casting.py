"""The characters that a request names: the tenant's own, each mentioned in the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from api.services import Services
from domain import ids
from domain.errors import InvalidRequest, NotFound
from storage import characters
from storage.characters import Character
from storage.keys import Caller

PARAM = "characters"


def cast(served: Services, caller: Caller, asked: Mapping[str, Any]) -> Sequence[Character]:
    """Who appears, in the order given. Raises NotFound, and InvalidRequest for a name that no prompt mentions."""
    named = [each["id"] for each in asked.get(PARAM, ())]
    if not named:
        return ()
    wanted = {public_id: _parse(public_id) for public_id in named}
    if len(wanted) < len(named):
        raise InvalidRequest("Each of the characters may be named once.", param=PARAM)
    with served.database.transaction(caller.tenant_id) as connection:
        found = characters.find_all(connection, caller.tenant_id, list(wanted.values()))
    missing = set(wanted.values()) - {each.id for each in found}
    for public_id, each in wanted.items():
        if each in missing:
            raise _unknown(public_id)
    _check_mentioned(found, asked)
    return found


def _parse(public_id: str) -> UUID:
    try:
        return ids.parse(ids.Kind.CHARACTER, public_id)
    except ids.InvalidId:
        raise _unknown(public_id) from None


def _unknown(public_id: str) -> NotFound:
    return NotFound(f"Character with id '{public_id[:64]}' not found.", param=PARAM, code="character_not_found")


def _check_mentioned(found: Sequence[Character], asked: Mapping[str, Any]) -> None:
    said = " ".join([asked["prompt"], *(shot["prompt"] for shot in asked.get("shots", ()))]).casefold()
    for each in found:
        if each.name.casefold() not in said:
            raise InvalidRequest(f"The prompt must mention the character '{each.name}' by that name.", param=PARAM)
