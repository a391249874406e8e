"""/admin/v1/tenants/{id}/keys: a tenant's API keys. A key itself is in the answer that makes it and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter

from api import paging
from api.admin import wire
from api.admin.access import Admin, Reader
from api.admin.tenants import TENANT, known
from api.admin.wire import Limit, Received
from api.deps import Served
from api.paging import After, Named, Page
from domain import fields, ids
from domain import keys as rules
from domain.keys import Scope
from storage import administration, keys

router = APIRouter()
KEY = TENANT + "/keys/{key_id}"


class ApiKey(Named):
    """A key as it may be shown. It works while `revoked_at` is null and `expires_at` null or ahead."""

    object: Literal["api_key"] = "api_key"
    tenant_id: str
    name: str
    hint: str
    scopes: list[Scope]  # empty: all
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None  # exact to a minute
    replaces: str | None  # the key that this one came for


class ApiKeyWithKey(ApiKey):
    """The only answer that holds the key."""

    key: str


@router.post(TENANT + "/keys", openapi_extra=wire.described(rules.API_KEY, ("name",)))
def create_key(served: Served, admin: Admin, tenant_id: str, body: Received) -> ApiKeyWithKey:
    """A new key of the tenant."""
    values = fields.check(rules.API_KEY, wire.read(body), ("name",))
    with served.database.transaction_for_any_tenant() as connection:
        peppers = served.settings.peppers
        made, key = administration.create_key(connection, known(tenant_id), admin.actor, values, peppers)
    return ApiKeyWithKey(**_facts(made), key=key)


@router.get(TENANT + "/keys")
def list_keys(served: Served, _reader: Reader, tenant_id: str, after: After = None, limit: Limit = 20) -> Page[ApiKey]:
    """The tenant's keys, newest first, ended ones too."""
    cursor = paging.named(ids.Kind.KEY, after, "after")
    with served.database.transaction_for_any_tenant() as connection:
        tenant = administration.the_tenant(connection, known(tenant_id))
        return wire.page(keys.page(connection, tenant.id, after=cursor, limit=limit), _shown)


@router.get(KEY)
def retrieve_key(served: Served, _reader: Reader, tenant_id: str, key_id: str) -> ApiKey:
    """One key, without itself."""
    with served.database.transaction_for_any_tenant() as connection:
        return _shown(administration.the_key(connection, known(tenant_id), _known(key_id)))


@router.post(KEY, openapi_extra=wire.described(rules.API_KEY))
def update_key(served: Served, admin: Admin, tenant_id: str, key_id: str, body: Received) -> ApiKey:
    """Change what is named; `expires_in` counts from now. Felt within five seconds."""
    values = fields.check(rules.API_KEY, wire.read(body))
    with served.database.transaction_for_any_tenant() as connection:
        return _shown(administration.update_key(connection, known(tenant_id), admin.actor, _known(key_id), values))


@router.post(KEY + "/rotate", openapi_extra=wire.described(rules.ROTATION, optional=True))
def rotate_key(served: Served, admin: Admin, tenant_id: str, key_id: str, body: Received) -> ApiKeyWithKey:
    """A new key in place of this one, which works for `overlap_seconds` longer: a day, or 0 to 7 days."""
    overlap = overlap_of(wire.read(body))
    with served.database.transaction_for_any_tenant() as connection:
        made, key = administration.rotate_key(
            connection,
            known(tenant_id),
            admin.actor,
            _known(key_id),
            overlap=overlap,
            peppers=served.settings.peppers,
        )
    return ApiKeyWithKey(**_facts(made), key=key)


@router.post(KEY + "/revoke")
def revoke_key(served: Served, admin: Admin, tenant_id: str, key_id: str) -> ApiKey:
    """End the key for good, within five seconds on every replica."""
    with served.database.transaction_for_any_tenant() as connection:
        return _shown(administration.revoke_key(connection, known(tenant_id), admin.actor, _known(key_id)))


def overlap_of(values: dict[str, Any]) -> timedelta:
    """How long a rotated key goes on working. Raises InvalidRequest."""
    checked = fields.check(rules.ROTATION, values)
    return timedelta(seconds=checked.get("overlap_seconds", rules.OVERLAP.total_seconds()))


def _known(key_id: str) -> UUID:
    return wire.known(ids.Kind.KEY, key_id, "key_id")


def _shown(key: keys.Key) -> ApiKey:
    return ApiKey(**_facts(key))


def _facts(key: keys.Key) -> dict[str, Any]:
    return {
        "id": ids.public(ids.Kind.KEY, key.id),
        "tenant_id": ids.public(ids.Kind.TENANT, key.tenant_id),
        "name": key.name,
        "hint": key.hint,
        "scopes": list(key.scopes),
        "created_at": int(key.created_at.timestamp()),
        "expires_at": wire.seconds(key.expires_at),
        "revoked_at": wire.seconds(key.revoked_at),
        "last_used_at": wire.seconds(key.last_used_at),
        "replaces": None if key.replaces is None else ids.public(ids.Kind.KEY, key.replaces),
    }
