"""/v1/usage: what the caller's tenant was charged, as pages and as a file, and what is left of its limits."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api import bills
from api.bills import Format, Quota, Read, UsagePage
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from api.services import Services
from domain import usage as rules
from domain.usage import Grouping, Span
from storage import ledger, usage
from storage.usage import Page

MOST_LINES = 1_000
GROUP_BY = "day,key,model"

router = APIRouter(prefix="/v1", tags=["usage"], responses=FAILURES)

Start = Annotated[str | None, Query(description="A date, ISO 8601 time or Unix seconds; the start of this month.")]
End = Annotated[str | None, Query(description="The first moment that counts no more; now.")]
GroupBy = Annotated[str, Query(description="Some of day, tenant, key, model, label:KEY (a key of metadata), video.")]
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}, "text/csv": {"schema": {"type": "string"}}}
    }
}


class Usage(UsagePage):
    """A page of charges, and the limits as they stand now. `after` asks for the next page."""

    quotas: list[Quota]


@router.get("/usage")
def read_usage(
    served: Served,
    caller: Authenticated,
    *,
    start: Start = None,
    end: End = None,
    group_by: GroupBy = GROUP_BY,
    after: Annotated[str, Query(description="What the page before gave.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LINES)] = 100,
) -> Usage:
    """What was charged, by the day of the charge. A video is charged when it ends."""
    grouping, span = rules.grouping(group_by), bills.span(start, end)
    page = bills.read_page(_reader(served, caller.tenant_id, span, grouping, limit), after)
    with served.database.transaction(caller.tenant_id) as connection:
        limits = ledger.limits(connection, caller.tenant_id)
    quotas = [bills.quota(limit) for limit in limits]
    return Usage(**bills.shown(span, group_by, page), quotas=quotas)


@router.get("/usage/export", response_class=StreamingResponse, responses=FILE)
def export_usage(
    served: Served,
    caller: Authenticated,
    *,
    format: Format = "jsonl",  # noqa: A002 - the parameter's name
    start: Start = None,
    end: End = None,
    group_by: GroupBy = GROUP_BY,
) -> StreamingResponse:
    """The same as a file of JSON lines or CSV, however long it is."""
    grouping, span = rules.grouping(group_by), bills.span(start, end)
    return bills.export(_reader(served, caller.tenant_id, span, grouping, bills.EXPORT_PAGE), grouping, format)


def _reader(served: Services, tenant_id: UUID, span: Span, grouping: Grouping, limit: int) -> Read:
    """Each page is a transaction of its own, so that a slow reader keeps none open."""

    def read(after: tuple[str, ...]) -> Page:
        with served.database.transaction(tenant_id) as connection:
            return usage.page(connection, tenant_id, span, grouping, limit=limit, after=after)

    return read
