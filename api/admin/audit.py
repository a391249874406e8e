"""/admin/v1/audit: who changed what. Rows are written by the changes themselves, and never rewritten."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from api import paging
from api.admin import wire
from api.admin.access import Reader
from api.admin.wire import Limit, Moment
from api.deps import Served
from api.paging import After, Named, Page
from domain import ids
from storage import audit
from storage.audit import Wanted

router = APIRouter()


class AuditEntry(Named):
    """One change: of `before` and `after` only what differs, and never a secret."""

    object: Literal["audit_entry"] = "audit_entry"
    at: int
    actor: str  # an admin key's id, or `cli:` and a user
    action: str
    target: str
    tenant_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None


@router.get("/audit")
def list_audit(
    served: Served,
    _reader: Reader,
    *,
    tenant: Annotated[str | None, Query(description="Changes about this tenant.")] = None,
    actor: Annotated[str | None, Query(description="An admin key's id, or `cli:` and a user.")] = None,
    action: Annotated[str | None, Query(description="For example `key.revoked`.")] = None,
    target: Annotated[str | None, Query(description="The public id of what was changed.")] = None,
    since: Moment = None,
    until: Moment = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[AuditEntry]:
    """Changes, newest first."""
    wanted = Wanted(
        tenant=paging.named(ids.Kind.TENANT, tenant, "tenant"),
        actor=wire.clean(actor),
        action=wire.clean(action),
        target=wire.clean(target),
        since=wire.moment(since),
        until=wire.moment(until),
    )
    cursor = paging.named(ids.Kind.AUDIT_ENTRY, after, "after")
    with served.database.transaction_for_any_tenant() as connection:
        return wire.page(audit.page_for_any_tenant(connection, wanted, after=cursor, limit=limit), _shown)


def _shown(entry: audit.Entry) -> AuditEntry:
    return AuditEntry(
        id=ids.public(ids.Kind.AUDIT_ENTRY, entry.id),
        at=int(entry.at.timestamp()),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        tenant_id=None if entry.tenant is None else ids.public(ids.Kind.TENANT, entry.tenant),
        before=entry.before,
        after=entry.after,
        request_id=entry.request_id,
    )
