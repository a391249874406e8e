"""API keys of tenants: only their HMAC is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain import keys
from domain.keys import Scope
from storage import issued
from storage import tenants as tenants_of
from storage.tables import NOW, api_keys, tenants
from storage.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key came with a request. No scopes: the key may do everything that its tenant may."""

    tenant: Tenant
    key_id: UUID
    scopes: tuple[str, ...]
    pepper_id: str = ""  # under which the key is stored

    @property
    def tenant_id(self) -> UUID:
        """The first argument of all that reads or writes."""
        return self.tenant.id

    def may(self, scope: Scope) -> bool:
        """Whether the key reaches so far."""
        return not self.scopes or scope in self.scopes


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it may be shown."""

    id: UUID
    tenant_id: UUID
    name: str
    hint: str
    scopes: tuple[str, ...]
    pepper_id: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    replaces: UUID | None


_COLUMNS = tuple(api_keys.c[field.name] for field in fields(Key))


def issue_for_any_tenant(connection: Connection, tenant_id: UUID, name: str, pepper: bytes, pepper_id: str) -> str:
    """Store a new key of the tenant and return it: the only time that it is seen."""
    return issued.insert_for_any_tenant(
        connection, api_keys, keys.PREFIX, {pepper_id: pepper}, {"tenant_id": tenant_id, "name": name}
    )


def identify_for_any_tenant(connection: Connection, key: str, peppers: Mapping[str, bytes]) -> Caller | None:
    """Whose key this is; None if it is nobody's, expired or revoked."""
    if not keys.well_formed(key):
        return None
    found = connection.execute(
        sa.select(api_keys.c.id, api_keys.c.scopes, api_keys.c.pepper_id, *tenants_of.COLUMNS)
        .join(tenants, tenants.c.id == api_keys.c.tenant_id)
        .where(
            api_keys.c.digest.in_(issued.digests(key, peppers)),
            *issued.alive(api_keys),
            tenants.c.disabled_at.is_(None),
        )
    )
    row = found.mappings().one_or_none()
    return None if row is None else _caller(row)


def caller(connection: Connection, tenant_id: UUID, key_id: UUID) -> Caller | None:
    """Whoever asked for what is still being done: None since the key was revoked or the tenant disabled.

    An expired key is no reason to stop: keys expire while what they began goes on.
    """
    found = connection.execute(
        sa.select(api_keys.c.id, api_keys.c.scopes, api_keys.c.pepper_id, *tenants_of.COLUMNS)
        .join(tenants, tenants.c.id == api_keys.c.tenant_id)
        .where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
        .where(api_keys.c.revoked_at.is_(None), tenants.c.disabled_at.is_(None))
    )
    row = found.mappings().one_or_none()
    return None if row is None else _caller(row)


def note_uses_for_any_tenant(connection: Connection, uses: Mapping[UUID, bytes | None], pepper_id: str) -> None:
    """Remember when keys were used last, and move those with a digest to the newest pepper."""
    issued.note_uses_for_any_tenant(connection, api_keys, uses, pepper_id)


def find(connection: Connection, tenant_id: UUID, key_id: UUID, *, lock: bool = False) -> Key | None:
    """The tenant's key, revoked ones too. `lock` keeps others from changing it until commit."""
    query = sa.select(*_COLUMNS).where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).mappings().one_or_none()
    return None if row is None else _key(row)


def find_for_any_tenant(connection: Connection, key_id: UUID) -> Key | None:
    """Whosever key it is."""
    row = connection.execute(sa.select(*_COLUMNS).where(api_keys.c.id == key_id)).mappings().one_or_none()
    return None if row is None else _key(row)


def page(connection: Connection, tenant_id: UUID, *, after: UUID | None, limit: int) -> tuple[tuple[Key, ...], bool]:
    """Up to `limit` keys older than `after`, newest first, and whether there are more."""
    query = sa.select(*_COLUMNS).where(api_keys.c.tenant_id == tenant_id)
    if after is not None:
        query = query.where(api_keys.c.id < after)
    rows = connection.execute(query.order_by(api_keys.c.id.desc()).limit(limit + 1)).mappings()
    found = tuple(_key(row) for row in rows)
    return found[:limit], len(found) > limit


def create(
    connection: Connection, tenant_id: UUID, values: Mapping[str, Any], peppers: Mapping[str, bytes]
) -> tuple[Key, str]:
    """A key with a name, scopes, and the seconds that it lives (`expires_in`); itself only this time."""
    row: dict[str, Any] = {
        "tenant_id": tenant_id,
        "name": values["name"],
        "scopes": values.get("scopes") or [],
        "expires_at": issued.ends_in(values.get("expires_in")),
        "replaces": values.get("replaces"),
    }
    key = issued.insert_for_any_tenant(connection, api_keys, keys.PREFIX, peppers, row)
    return _by_digest(connection, key, peppers), key


def update(connection: Connection, tenant_id: UUID, key_id: UUID, values: Mapping[str, Any]) -> None:
    """Change name and scopes; `expires_in` counts from now."""
    columns = {name: value for name, value in values.items() if name in {"name", "scopes"}}
    if "expires_in" in values:
        columns["expires_at"] = issued.ends_in(values["expires_in"])
    if columns:
        connection.execute(_one(tenant_id, key_id).values(columns))


def rotate(
    connection: Connection, tenant_id: UUID, old: Key, overlap: timedelta, peppers: Mapping[str, bytes]
) -> tuple[Key, str]:
    """A key in place of another that ends after `overlap`: same name, same scopes, as long a life."""
    until = NOW + overlap
    earlier = until if old.expires_at is None else sa.func.least(api_keys.c.expires_at, until)
    connection.execute(_one(tenant_id, old.id).values(expires_at=earlier))
    life = None if old.expires_at is None else (old.expires_at - old.created_at).total_seconds()
    values = {"name": old.name, "scopes": list(old.scopes), "expires_in": life, "replaces": old.id}
    return create(connection, tenant_id, values, peppers)


def revoke(connection: Connection, tenant_id: UUID, key_id: UUID) -> None:
    """End the key now; a second time changes nothing."""
    connection.execute(_one(tenant_id, key_id).where(api_keys.c.revoked_at.is_(None)).values(revoked_at=NOW))


def by_pepper_for_any_tenant(connection: Connection) -> dict[str, int]:
    """Living keys under each pepper: one that has none may be taken out of the settings."""
    query = sa.select(api_keys.c.pepper_id, sa.func.count()).where(*issued.alive(api_keys))
    return {name: count for name, count in connection.execute(query.group_by(api_keys.c.pepper_id))}  # noqa: C416 - a row is no tuple to the type checker


def _caller(row: RowMapping) -> Caller:
    return Caller(tenants_of.tenant(row), row[api_keys.c.id], tuple(row[api_keys.c.scopes]), row[api_keys.c.pepper_id])


def _one(tenant_id: UUID, key_id: UUID) -> sa.Update:
    return sa.update(api_keys).where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)


def _by_digest(connection: Connection, key: str, peppers: Mapping[str, bytes]) -> Key:
    query = sa.select(*_COLUMNS).where(api_keys.c.digest == issued.digests(key, peppers)[0])
    return _key(connection.execute(query).mappings().one())


def _key(row: RowMapping) -> Key:
    values: dict[str, Any] = {**row, "scopes": tuple(row["scopes"])}
    return Key(**values)
