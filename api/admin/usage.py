"""/admin/v1/usage: what tenants were charged, as pages and as a file."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api import bills, paging
from api.admin.access import Reader
from api.bills import Format, Read, UsagePage
from api.deps import Served
from api.services import Services
from api.usage import FILE, MOST_LINES, End, GroupBy, Start
from domain import ids
from domain import usage as rules
from domain.usage import Grouping, Span
from storage import usage
from storage.usage import Page

router = APIRouter()
GROUP_BY = "day,tenant"
OfTenant = Annotated[str | None, Query(description="One tenant's id; else all.")]


class UsageOfTenants(UsagePage):
    """A page of charges. `after` asks for the next page."""


@router.get("/usage")
def read_usage(
    served: Served,
    _reader: Reader,
    *,
    tenant: OfTenant = None,
    start: Start = None,
    end: End = None,
    group_by: GroupBy = GROUP_BY,
    after: Annotated[str, Query(description="What the page before gave.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LINES)] = 100,
) -> UsageOfTenants:
    """What was charged, by the day of the charge. A video is charged when it ends."""
    grouping, span = rules.grouping(group_by), bills.span(start, end)
    tenant_id = paging.named(ids.Kind.TENANT, tenant, "tenant")
    page = bills.read_page(_reader_of(served, tenant_id, span, grouping, limit), after)
    return UsageOfTenants(**bills.shown(span, group_by, page))


@router.get("/usage/export", response_class=StreamingResponse, responses=FILE)
def export_usage(
    served: Served,
    _reader: Reader,
    *,
    format: Format = "jsonl",  # noqa: A002 - the parameter's name
    tenant: OfTenant = None,
    start: Start = None,
    end: End = None,
    group_by: GroupBy = GROUP_BY,
) -> StreamingResponse:
    """The same as a file of JSON lines or CSV, however long it is."""
    grouping, span = rules.grouping(group_by), bills.span(start, end)
    tenant_id = paging.named(ids.Kind.TENANT, tenant, "tenant")
    return bills.export(_reader_of(served, tenant_id, span, grouping, bills.EXPORT_PAGE), grouping, format)


def _reader_of(served: Services, tenant_id: UUID | None, span: Span, grouping: Grouping, limit: int) -> Read:
    """Each page is a transaction of its own, so that a slow reader keeps none open."""

    def read(after: tuple[str, ...]) -> Page:
        with served.database.transaction_for_any_tenant() as connection:
            if tenant_id is None:
                return usage.page_for_any_tenant(connection, span, grouping, limit=limit, after=after)
            return usage.page(connection, tenant_id, span, grouping, limit=limit, after=after)

    return read
