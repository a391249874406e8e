"""/admin/v1/tenants/{id}/quotas: what a tenant may use in a period. Without a quota it may use as much as it likes."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api import bills
from api.admin import wire
from api.admin.access import Admin, Reader
from api.admin.tenants import TENANT, known
from api.admin.wire import Received
from api.bills import Quota
from api.deps import Served
from domain import fields
from domain.administration import QUOTA
from domain.ledger import Meter
from domain.quotas import Period
from storage import administration, ledger

router = APIRouter()
QUOTA_OF = TENANT + "/quotas/{meter}"


class QuotaList(BaseModel):
    """The limits of one tenant as they stand now."""

    object: Literal["list"] = "list"
    data: list[Quota]


class DeletedQuota(BaseModel):
    """The answer to a DELETE."""

    object: Literal["quota.deleted"] = "quota.deleted"
    meter: Meter
    deleted: Literal[True] = True


@router.get(TENANT + "/quotas")
def list_quotas(served: Served, _reader: Reader, tenant_id: str) -> QuotaList:
    """By meter."""
    with served.database.transaction_for_any_tenant() as connection:
        tenant = administration.the_tenant(connection, known(tenant_id))
        return QuotaList(data=[bills.quota(each) for each in ledger.limits(connection, tenant.id)])


@router.put(QUOTA_OF, openapi_extra=wire.described(QUOTA, ("limit", "period")))
def set_quota(served: Served, admin: Admin, tenant_id: str, meter: Meter, body: Received) -> Quota:
    """Limit a meter; what is held and was used in the period counts."""
    values = fields.check(QUOTA, wire.read(body), ("limit", "period"))
    with served.database.transaction_for_any_tenant() as connection:
        return bills.quota(
            administration.set_quota(
                connection, known(tenant_id), admin.actor, meter, limit=values["limit"], period=Period(values["period"])
            )
        )


@router.delete(QUOTA_OF)
def clear_quota(served: Served, admin: Admin, tenant_id: str, meter: Meter) -> DeletedQuota:
    """Take the limit away. 404 if there is none."""
    with served.database.transaction_for_any_tenant() as connection:
        administration.clear_quota(connection, known(tenant_id), admin.actor, meter)
    return DeletedQuota(meter=meter)
