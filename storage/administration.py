"""What administrators change about tenants and keys, each with its row of the audit log in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from domain.administration import Actor
from domain.errors import Conflict, NotFound
from domain.ids import Kind, public
from domain.ledger import Meter
from domain.quotas import Period, Quota
from storage import admin_keys, audit, keys, ledger, tenants
from storage.admin_keys import AdminKey
from storage.keys import Key
from storage.tenants import Tenant

Changed = Tenant | Key | AdminKey


def create_tenant_for_any_tenant(connection: Connection, actor: Actor, values: Mapping[str, Any]) -> Tenant:
    """A tenant with the columns that `domain.tenants` has checked."""
    made = tenants.create_for_any_tenant(connection, **values)
    _note(connection, actor, "tenant.created", None, made)
    return made


def update_tenant(connection: Connection, tenant_id: UUID, actor: Actor, values: Mapping[str, Any]) -> Tenant:
    """Set what `values` has. Raises NotFound."""
    before = the_tenant(connection, tenant_id, lock=True)
    tenants.update(connection, tenant_id, values)
    return _changed(connection, actor, "tenant.updated", before)


def switch_tenant(connection: Connection, tenant_id: UUID, actor: Actor, *, disabled: bool) -> Tenant:
    """Stop its keys within five seconds, or let them work again. Raises NotFound."""
    before = the_tenant(connection, tenant_id, lock=True)
    tenants.switch(connection, tenant_id, disabled=disabled)
    return _changed(connection, actor, "tenant.disabled" if disabled else "tenant.enabled", before)


def create_key(
    connection: Connection, tenant_id: UUID, actor: Actor, values: Mapping[str, Any], peppers: Mapping[str, bytes]
) -> tuple[Key, str]:
    """A key of the tenant, shown only now. Raises NotFound."""
    the_tenant(connection, tenant_id, lock=True)
    made, key = keys.create(connection, tenant_id, values, peppers)
    _note(connection, actor, "key.created", None, made)
    return made, key


def update_key(connection: Connection, tenant_id: UUID, actor: Actor, key_id: UUID, values: Mapping[str, Any]) -> Key:
    """Set name, scopes or the time that it has left. Raises NotFound, and Conflict for a key that has ended."""
    before = _living_key(connection, tenant_id, key_id)
    keys.update(connection, tenant_id, key_id, values)
    after = the_key(connection, tenant_id, key_id)
    if after != before:
        _note(connection, actor, "key.updated", before, after)
    return after


def rotate_key(
    connection: Connection,
    tenant_id: UUID,
    actor: Actor,
    key_id: UUID,
    *,
    overlap: timedelta,
    peppers: Mapping[str, bytes],
) -> tuple[Key, str]:
    """A key in place of another, which works for `overlap` longer. Raises NotFound, and Conflict for an ended one."""
    old = _living_key(connection, tenant_id, key_id)
    made, key = keys.rotate(connection, tenant_id, old, overlap, peppers)
    _note(connection, actor, "key.rotated", old, the_key(connection, tenant_id, key_id))
    _note(connection, actor, "key.created", None, made)
    return made, key


def revoke_key(connection: Connection, tenant_id: UUID, actor: Actor, key_id: UUID) -> Key:
    """End the key now, again without a change. Raises NotFound."""
    before = the_key(connection, tenant_id, key_id, lock=True)
    keys.revoke(connection, tenant_id, key_id)
    after = the_key(connection, tenant_id, key_id)
    if after != before:
        _note(connection, actor, "key.revoked", before, after)
    return after


def set_quota(
    connection: Connection, tenant_id: UUID, actor: Actor, meter: Meter, *, limit: int, period: Period
) -> Quota:
    """Limit what the tenant may use of a meter in a period. Raises NotFound."""
    the_tenant(connection, tenant_id, lock=True)
    before = _quota_of(connection, tenant_id, meter)
    after = ledger.set_limit(connection, tenant_id, meter, limit, period)
    _note_quota(connection, tenant_id, actor, "quota.set", before=before, after=after)
    return after


def clear_quota(connection: Connection, tenant_id: UUID, actor: Actor, meter: Meter) -> None:
    """Let the tenant use as much of a meter as it likes. Raises NotFound, also if there was no limit."""
    the_tenant(connection, tenant_id, lock=True)
    before = _quota_of(connection, tenant_id, meter)
    if before is None or not ledger.clear_limit(connection, tenant_id, meter):
        raise NotFound("The tenant has no such quota.", param="meter", code="quota_not_found")
    _note_quota(connection, tenant_id, actor, "quota.cleared", before=before, after=None)


def create_admin_key_for_any_tenant(
    connection: Connection, actor: Actor, values: Mapping[str, Any], peppers: Mapping[str, bytes]
) -> tuple[AdminKey, str]:
    """A key of an administrator, shown only now."""
    made, key = admin_keys.create_for_any_tenant(connection, values, peppers)
    _note(connection, actor, "admin_key.created", None, made)
    return made, key


def rotate_admin_key_for_any_tenant(
    connection: Connection, actor: Actor, key_id: UUID, *, overlap: timedelta, peppers: Mapping[str, bytes]
) -> tuple[AdminKey, str]:
    """A key in place of another, which works for `overlap` longer. Raises NotFound, and Conflict for an ended one."""
    old = the_admin_key_for_any_tenant(connection, key_id, lock=True)
    _refuse_ended(old)
    admin_keys.end_for_any_tenant(connection, key_id, overlap)
    ending = the_admin_key_for_any_tenant(connection, key_id)
    _note(connection, actor, "admin_key.rotated", old, ending)
    life = None if old.expires_at is None else (old.expires_at - old.created_at).total_seconds()
    values = {"name": old.name, "role": old.role, "expires_in": life}
    return create_admin_key_for_any_tenant(connection, actor, values, peppers)


def revoke_admin_key_for_any_tenant(connection: Connection, actor: Actor, key_id: UUID) -> AdminKey:
    """End the key now, again without a change. Raises NotFound."""
    before = the_admin_key_for_any_tenant(connection, key_id, lock=True)
    admin_keys.revoke_for_any_tenant(connection, key_id)
    after = the_admin_key_for_any_tenant(connection, key_id)
    if after != before:
        _note(connection, actor, "admin_key.revoked", before, after)
    return after


def the_tenant(connection: Connection, tenant_id: UUID, *, lock: bool = False) -> Tenant:
    """One tenant. Raises NotFound."""
    found = tenants.find(connection, tenant_id, lock=lock)
    if found is None:
        raise NotFound("There is no such tenant.", param="tenant_id", code="tenant_not_found")
    return found


def the_key(connection: Connection, tenant_id: UUID, key_id: UUID, *, lock: bool = False) -> Key:
    """One key of a tenant. Raises NotFound."""
    found = keys.find(connection, tenant_id, key_id, lock=lock)
    if found is None:
        raise NotFound("The tenant has no such key.", param="key_id", code="key_not_found")
    return found


def the_admin_key_for_any_tenant(connection: Connection, key_id: UUID, *, lock: bool = False) -> AdminKey:
    """One admin key. Raises NotFound."""
    found = admin_keys.find_for_any_tenant(connection, key_id, lock=lock)
    if found is None:
        raise NotFound("There is no such admin key.", param="admin_key_id", code="admin_key_not_found")
    return found


def _living_key(connection: Connection, tenant_id: UUID, key_id: UUID) -> Key:
    key = the_key(connection, tenant_id, key_id, lock=True)
    _refuse_ended(key)
    return key


def _refuse_ended(key: Key | AdminKey) -> None:
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= datetime.now(UTC)):
        raise Conflict("The key has ended. Create a new one.", code="key_ended")


def _changed(connection: Connection, actor: Actor, action: str, before: Tenant) -> Tenant:
    after = the_tenant(connection, before.id)
    if after != before:
        _note(connection, actor, action, before, after)
    return after


def _note(connection: Connection, actor: Actor, action: str, before: Changed | None, after: Changed) -> None:
    match after:
        case Tenant():
            kind, tenant = Kind.TENANT, after.id
        case Key():
            kind, tenant = Kind.KEY, after.tenant_id
        case AdminKey():
            kind, tenant = Kind.ADMIN_KEY, None
    audit.record_for_any_tenant(
        connection,
        actor,
        action,
        public(kind, after.id),
        tenant=tenant,
        before=None if before is None else asdict(before),
        after=asdict(after),
    )


def _quota_of(connection: Connection, tenant_id: UUID, meter: Meter) -> Quota | None:
    return next((quota for quota in ledger.limits(connection, tenant_id) if quota.meter is meter), None)


def _note_quota(
    connection: Connection,
    tenant_id: UUID,
    actor: Actor,
    action: str,
    *,
    before: Quota | None,
    after: Quota | None,
) -> None:
    """Only what an operator decides; what is used changes by itself."""
    audit.record_for_any_tenant(
        connection,
        actor,
        action,
        public(Kind.TENANT, tenant_id),
        tenant=tenant_id,
        before=None if before is None else {before.meter: {"limit": before.limit, "period": before.period}},
        after=None if after is None else {after.meter: {"limit": after.limit, "period": after.period}},
    )
