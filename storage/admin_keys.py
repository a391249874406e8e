"""Keys of administrators: what tenants' keys are, with a role in place of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain import keys
from domain.administration import Role
from storage import issued
from storage.tables import NOW, admin_keys


@dataclass(frozen=True, slots=True)
class AdminKey:
    """A key as it may be shown."""

    id: UUID
    name: str
    role: Role
    hint: str
    pepper_id: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def key_id(self) -> UUID:
        """As a caller's key calls it."""
        return self.id


_COLUMNS = tuple(admin_keys.c[field.name] for field in fields(AdminKey))


def identify_for_any_tenant(connection: Connection, key: str, peppers: Mapping[str, bytes]) -> AdminKey | None:
    """Whose key this is; None if it is nobody's, expired or revoked."""
    if not keys.well_formed(key) or not key.startswith(keys.ADMIN_PREFIX):
        return None
    query = sa.select(*_COLUMNS).where(admin_keys.c.digest.in_(issued.digests(key, peppers)), *issued.alive(admin_keys))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _admin_key(row)


def note_uses_for_any_tenant(connection: Connection, uses: Mapping[UUID, bytes | None], pepper_id: str) -> None:
    """Remember when keys were used last, and move those with a digest to the newest pepper."""
    issued.note_uses_for_any_tenant(connection, admin_keys, uses, pepper_id)


def find_for_any_tenant(connection: Connection, key_id: UUID, *, lock: bool = False) -> AdminKey | None:
    """One key, revoked ones too."""
    query = sa.select(*_COLUMNS).where(admin_keys.c.id == key_id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).mappings().one_or_none()
    return None if row is None else _admin_key(row)


def page_for_any_tenant(connection: Connection, *, after: UUID | None, limit: int) -> tuple[tuple[AdminKey, ...], bool]:
    """Up to `limit` keys older than `after`, newest first, and whether there are more."""
    query = sa.select(*_COLUMNS)
    if after is not None:
        query = query.where(admin_keys.c.id < after)
    rows = connection.execute(query.order_by(admin_keys.c.id.desc()).limit(limit + 1)).mappings()
    found = tuple(_admin_key(row) for row in rows)
    return found[:limit], len(found) > limit


def create_for_any_tenant(
    connection: Connection, values: Mapping[str, Any], peppers: Mapping[str, bytes]
) -> tuple[AdminKey, str]:
    """A key with a name, a role, and the seconds that it lives (`expires_in`); itself only this time."""
    row = {
        "name": values["name"],
        "role": values["role"],
        "expires_at": issued.ends_in(values.get("expires_in")),
    }
    key = issued.insert_for_any_tenant(connection, admin_keys, keys.ADMIN_PREFIX, peppers, row)
    query = sa.select(*_COLUMNS).where(admin_keys.c.digest == issued.digests(key, peppers)[0])
    return _admin_key(connection.execute(query).mappings().one()), key


def end_for_any_tenant(connection: Connection, key_id: UUID, after: timedelta) -> None:
    """Let the key end after a while, unless it ends before."""
    until = NOW + after
    earlier = sa.func.least(sa.func.coalesce(admin_keys.c.expires_at, until), until)
    connection.execute(sa.update(admin_keys).where(admin_keys.c.id == key_id).values(expires_at=earlier))


def revoke_for_any_tenant(connection: Connection, key_id: UUID) -> None:
    """End the key now; a second time changes nothing."""
    living = sa.update(admin_keys).where(admin_keys.c.id == key_id, admin_keys.c.revoked_at.is_(None))
    connection.execute(living.values(revoked_at=NOW))


def by_pepper_for_any_tenant(connection: Connection) -> dict[str, int]:
    """Living keys under each pepper."""
    query = sa.select(admin_keys.c.pepper_id, sa.func.count()).where(*issued.alive(admin_keys))
    return {name: count for name, count in connection.execute(query.group_by(admin_keys.c.pepper_id))}  # noqa: C416 - a row is no tuple to the type checker


def _admin_key(row: RowMapping) -> AdminKey:
    values: dict[str, Any] = {**row, "role": Role(row["role"])}
    return AdminKey(**values)
