"""/admin/v1/admin_keys: keys of administrators. And /admin/v1/me: what the key in hand may do."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter

from api import paging
from api.admin import wire
from api.admin.access import Admin, Reader
from api.admin.keys import overlap_of
from api.admin.wire import Limit, Received
from api.deps import Served
from api.paging import After, Named, Page
from domain import fields, ids
from domain.administration import ADMIN_KEY, GRANTS, Permission, Role
from domain.keys import ROTATION
from storage import admin_keys, administration

router = APIRouter()
KEY = "/admin_keys/{admin_key_id}"


class AdminKey(Named):
    """A key as it may be shown."""

    object: Literal["admin_key"] = "admin_key"
    name: str
    role: Role
    hint: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None  # exact to a minute


class AdminKeyWithKey(AdminKey):
    """The only answer that holds the key."""

    key: str


class Me(AdminKey):
    """The key that asks, and what its role grants."""

    permissions: list[Permission]


@router.get("/me")
def retrieve_me(_served: Served, reader: Reader) -> Me:
    """Whose key this is."""
    return Me(**_facts(reader.key), permissions=sorted(GRANTS[reader.key.role]))


@router.post("/admin_keys", openapi_extra=wire.described(ADMIN_KEY, ("name", "role")))
def create_admin_key(served: Served, admin: Admin, body: Received) -> AdminKeyWithKey:
    """A new key of an administrator."""
    values = fields.check(ADMIN_KEY, wire.read(body), ("name", "role"))
    with served.database.transaction_for_any_tenant() as connection:
        made, key = administration.create_admin_key_for_any_tenant(
            connection, admin.actor, values, served.settings.peppers
        )
    return AdminKeyWithKey(**_facts(made), key=key)


@router.get("/admin_keys")
def list_admin_keys(served: Served, _reader: Reader, after: After = None, limit: Limit = 20) -> Page[AdminKey]:
    """All of them, newest first, ended ones too."""
    cursor = paging.named(ids.Kind.ADMIN_KEY, after, "after")
    with served.database.transaction_for_any_tenant() as connection:
        return wire.page(admin_keys.page_for_any_tenant(connection, after=cursor, limit=limit), _shown)


@router.get(KEY)
def retrieve_admin_key(served: Served, _reader: Reader, admin_key_id: str) -> AdminKey:
    """One key, without itself."""
    with served.database.transaction_for_any_tenant() as connection:
        return _shown(administration.the_admin_key_for_any_tenant(connection, _known(admin_key_id)))


@router.post(KEY + "/rotate", openapi_extra=wire.described(ROTATION, optional=True))
def rotate_admin_key(served: Served, admin: Admin, admin_key_id: str, body: Received) -> AdminKeyWithKey:
    """A new key in place of this one, which works for `overlap_seconds` longer: a day, or 0 to 7 days."""
    overlap = overlap_of(wire.read(body))
    with served.database.transaction_for_any_tenant() as connection:
        made, key = administration.rotate_admin_key_for_any_tenant(
            connection, admin.actor, _known(admin_key_id), overlap=overlap, peppers=served.settings.peppers
        )
    return AdminKeyWithKey(**_facts(made), key=key)


@router.post(KEY + "/revoke")
def revoke_admin_key(served: Served, admin: Admin, admin_key_id: str) -> AdminKey:
    """End the key for good, within five seconds on every replica. One's own too: the command line makes new ones."""
    with served.database.transaction_for_any_tenant() as connection:
        return _shown(administration.revoke_admin_key_for_any_tenant(connection, admin.actor, _known(admin_key_id)))


def _known(admin_key_id: str) -> UUID:
    return wire.known(ids.Kind.ADMIN_KEY, admin_key_id, "admin_key_id")


def _shown(key: admin_keys.AdminKey) -> AdminKey:
    return AdminKey(**_facts(key))


def _facts(key: admin_keys.AdminKey) -> dict[str, Any]:
    return {
        "id": ids.public(ids.Kind.ADMIN_KEY, key.id),
        "name": key.name,
        "role": key.role,
        "hint": key.hint,
        "created_at": int(key.created_at.timestamp()),
        "expires_at": wire.seconds(key.expires_at),
        "revoked_at": wire.seconds(key.revoked_at),
        "last_used_at": wire.seconds(key.last_used_at),
    }
