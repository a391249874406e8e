"""Characters: named reference clips of a tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from storage import files
from storage.tables import characters


@dataclass(frozen=True, slots=True)
class Character:
    """A character; `object_key` holds its clip, an MP4."""

    id: UUID
    name: str
    object_key: str
    facts: dict[str, Any]  # width, height, seconds, fps
    created_at: datetime


_COLUMNS = [characters.c[name] for name in Character.__slots__]


def key(tenant_id: UUID, character_id: UUID) -> str:
    """Where the clip lies. `files.register` writes it down before it is put."""
    return f"characters/{tenant_id.hex}/{character_id.hex}.mp4"


def create(
    connection: Connection,
    tenant_id: UUID,
    character_id: UUID,
    *,
    name: str,
    size: int,
    facts: dict[str, Any],
    quota_bytes: int,
) -> Character:
    """The row of a character whose clip of `size` bytes is put. Raises QuotaExceeded."""
    object_key = key(tenant_id, character_id)
    files.adopt(connection, tenant_id, object_key, size, quota_bytes)
    row = {
        "id": character_id,
        "tenant_id": tenant_id,
        "name": name,
        "bytes": size,
        "object_key": object_key,
        "facts": facts,
    }
    return _character(connection.execute(sa.insert(characters).values(row).returning(*_COLUMNS)).one())


def find(connection: Connection, tenant_id: UUID, character_id: UUID) -> Character | None:
    """One character of the tenant's."""
    mine = (characters.c.tenant_id == tenant_id, characters.c.id == character_id)
    row = connection.execute(sa.select(*_COLUMNS).where(*mine)).one_or_none()
    return None if row is None else _character(row)


def find_all(connection: Connection, tenant_id: UUID, ids: Sequence[UUID]) -> Sequence[Character]:
    """Those of these that the tenant has, in the order of the ids."""
    mine = (characters.c.tenant_id == tenant_id, characters.c.id.in_(ids))
    found = {row.id: _character(row) for row in connection.execute(sa.select(*_COLUMNS).where(*mine))}
    return [found[each] for each in ids if each in found]


def _character(row: Row[Any]) -> Character:
    return Character(*row)
