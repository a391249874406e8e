"""/admin/v1/tenants: who may use the service, and how much of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from api import paging
from api.admin import wire
from api.admin.access import Admin, Reader
from api.admin.wire import Limit, Received
from api.deps import Served
from api.paging import After, Named, Page
from domain import ids
from domain import tenants as rules
from storage import administration, tenants

router = APIRouter()
TENANT = "/tenants/{tenant_id}"


class Tenant(Named):
    """A tenant, which is what OpenAI calls a project."""

    object: Literal["tenant"] = "tenant"
    name: str
    weight: float
    render_cap: int
    retention_seconds: int
    allowed_models: list[str] | None
    moderation: dict[str, Any] | None
    requests_per_minute: int | None
    creates_per_minute: int | None
    streams: int
    endpoints: int
    created_at: int
    disabled_at: int | None


@router.post("/tenants", openapi_extra=wire.described(rules.TENANT, ("name",)))
def create_tenant(served: Served, admin: Admin, body: Received) -> Tenant:
    """A new tenant; what is left out has its default."""
    values = rules.new(wire.read(body))
    with served.database.transaction_for_any_tenant() as connection:
        return shown(administration.create_tenant_for_any_tenant(connection, admin.actor, values))


@router.get("/tenants")
def list_tenants(
    served: Served,
    _reader: Reader,
    after: After = None,
    limit: Limit = 20,
    name: Annotated[str | None, Query(description="Only tenants of exactly this name.")] = None,
) -> Page[Tenant]:
    """All tenants, newest first, disabled ones too."""
    cursor = paging.named(ids.Kind.TENANT, after, "after")
    with served.database.transaction_for_any_tenant() as connection:
        found = tenants.page_for_any_tenant(connection, name=wire.clean(name), after=cursor, limit=limit)
    return wire.page(found, shown)


@router.get(TENANT)
def retrieve_tenant(served: Served, _reader: Reader, tenant_id: str) -> Tenant:
    """One tenant."""
    with served.database.transaction_for_any_tenant() as connection:
        return shown(administration.the_tenant(connection, known(tenant_id)))


@router.post(TENANT, openapi_extra=wire.described(rules.TENANT))
def update_tenant(served: Served, admin: Admin, tenant_id: str, body: Received) -> Tenant:
    """Change what is named, keep the rest; null takes a limit away. Felt within five seconds."""
    values = rules.changed(wire.read(body))
    with served.database.transaction_for_any_tenant() as connection:
        return shown(administration.update_tenant(connection, known(tenant_id), admin.actor, values))


@router.post(TENANT + "/disable")
def disable_tenant(served: Served, admin: Admin, tenant_id: str) -> Tenant:
    """Its keys stop working within five seconds. Videos that were accepted go on; cancel them if they should not."""
    with served.database.transaction_for_any_tenant() as connection:
        return shown(administration.switch_tenant(connection, known(tenant_id), admin.actor, disabled=True))


@router.post(TENANT + "/enable")
def enable_tenant(served: Served, admin: Admin, tenant_id: str) -> Tenant:
    """Its keys work again."""
    with served.database.transaction_for_any_tenant() as connection:
        return shown(administration.switch_tenant(connection, known(tenant_id), admin.actor, disabled=False))


def known(tenant_id: str) -> UUID:
    """The id in a path. Raises NotFound."""
    return wire.known(ids.Kind.TENANT, tenant_id, "tenant_id")


def shown(tenant: tenants.Tenant) -> Tenant:
    """The row as administrators see it."""
    return Tenant(
        id=ids.public(ids.Kind.TENANT, tenant.id),
        name=tenant.name,
        weight=tenant.weight,
        render_cap=tenant.render_cap,
        retention_seconds=tenant.retention_seconds,
        allowed_models=None if tenant.allowed_models is None else list(tenant.allowed_models),
        moderation=tenant.moderation,
        requests_per_minute=tenant.requests_per_minute,
        creates_per_minute=tenant.creates_per_minute,
        streams=tenant.streams,
        endpoints=tenant.endpoints,
        created_at=int(tenant.created_at.timestamp()),
        disabled_at=wire.seconds(tenant.disabled_at),
    )
