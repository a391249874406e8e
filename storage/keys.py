"""API keys: only their HMAC is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain import keys
from domain.ids import new_id
from storage import tenants as tenants_of
from storage.tables import NOW, api_keys, tenants
from storage.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key came with a request. No scopes: the key may do everything that its tenant may."""

    tenant: Tenant
    key_id: UUID
    scopes: tuple[str, ...]

    @property
    def tenant_id(self) -> UUID:
        """The first argument of all that reads or writes."""
        return self.tenant.id


def issue_for_any_tenant(connection: Connection, tenant_id: UUID, name: str, pepper: bytes, pepper_id: str) -> str:
    """Store a new key of the tenant and return it: the only time that it is seen."""
    key = keys.issue()
    connection.execute(
        sa.insert(api_keys).values(
            id=new_id(),
            tenant_id=tenant_id,
            name=name,
            digest=keys.digest(key, pepper),
            pepper_id=pepper_id,
            hint=keys.hint(key),
        )
    )
    return key


def identify_for_any_tenant(connection: Connection, key: str, peppers: Mapping[str, bytes]) -> Caller | None:
    """Whose key this is; None if it is nobody's, expired or revoked."""
    if not keys.well_formed(key):
        return None
    digests = [keys.digest(key, pepper) for pepper in peppers.values()]
    found = connection.execute(
        sa.select(api_keys.c.id, api_keys.c.scopes, *tenants_of.COLUMNS)
        .join(tenants, tenants.c.id == api_keys.c.tenant_id)
        .where(
            api_keys.c.digest.in_(digests),
            api_keys.c.revoked_at.is_(None),
            sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > NOW),
            tenants.c.disabled_at.is_(None),
        )
    )
    row = found.mappings().one_or_none()
    if row is None:
        return None
    return Caller(tenants_of.tenant(row), row[api_keys.c.id], tuple(row[api_keys.c.scopes]))


def caller(connection: Connection, tenant_id: UUID, key_id: UUID) -> Caller | None:
    """Whoever asked for something that is still being done: None since the key was revoked or the tenant disabled.

    An expired key is no reason to stop: keys expire while what they began goes on.
    """
    found = connection.execute(
        sa.select(api_keys.c.id, api_keys.c.scopes, *tenants_of.COLUMNS)
        .join(tenants, tenants.c.id == api_keys.c.tenant_id)
        .where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
        .where(api_keys.c.revoked_at.is_(None), tenants.c.disabled_at.is_(None))
    )
    row = found.mappings().one_or_none()
    if row is None:
        return None
    return Caller(tenants_of.tenant(row), row[api_keys.c.id], tuple(row[api_keys.c.scopes]))
