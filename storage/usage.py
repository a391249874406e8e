"""Charges added up, a page at a time. Each page begins where the last one ended, so that an export holds one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.usage import By, Grouping, Line, Span
from storage.tables import ledger

NO_KEY = UUID(int=0)  # stands in for null, which has no place in an order


@dataclass(frozen=True, slots=True)
class Page:
    """Lines in order; `after` is where the next page begins, None after the last."""

    lines: tuple[Line, ...]
    after: tuple[str, ...] | None


def page(
    connection: Connection, tenant_id: UUID, span: Span, grouping: Grouping, *, limit: int, after: tuple[str, ...] = ()
) -> Page:
    """Up to `limit` lines of what the tenant was charged. Raises ValueError for an `after` that no page gave."""
    return _page(connection, grouping, limit, after, _in(span), ledger.c.tenant_id == tenant_id)


def page_for_any_tenant(
    connection: Connection, span: Span, grouping: Grouping, *, limit: int, after: tuple[str, ...] = ()
) -> Page:
    """The same of all tenants."""
    return _page(connection, grouping, limit, after, _in(span))


def _page(
    connection: Connection, grouping: Grouping, limit: int, after: tuple[str, ...], *which: sa.ColumnElement[bool]
) -> Page:
    begin = _begin(grouping, after)
    charges = _charges(grouping, (*which, *_since(begin)))
    order = [charges.c[name] for name in _order(grouping)]
    query = _added_up(grouping, charges)
    if begin:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*map(sa.literal, begin.values())))
    rows = connection.execute(query.order_by(*order).limit(limit + 1)).mappings().all()
    more = len(rows) > limit
    last = tuple(str(rows[limit - 1][name]) for name in _order(grouping)) if more else None
    return Page(tuple(_line(row, grouping) for row in rows[:limit]), last)


def _in(span: Span) -> sa.ColumnElement[bool]:
    return sa.and_(sa.text("kind = 'charge'"), ledger.c.at >= span.start, ledger.c.at < span.end)


def _charges(grouping: Grouping, which: tuple[sa.ColumnElement[bool], ...]) -> sa.Subquery:
    """One row per charge, with no nulls to order by."""
    columns = (
        sa.cast(sa.func.timezone("UTC", ledger.c.at), sa.Date).label(By.DAY),
        ledger.c.tenant_id.label(By.TENANT),
        sa.func.coalesce(ledger.c.key_id, NO_KEY).label(By.KEY),
        sa.func.coalesce(ledger.c.model, "").label(By.MODEL),
        sa.func.coalesce(ledger.c.labels[grouping.label].astext, "").label(By.LABEL),
        ledger.c.video_id.label(By.VIDEO),
    )
    return sa.select(*columns, ledger.c.at, *_METERS).where(*which).subquery("charges")


def _order(grouping: Grouping) -> tuple[str, ...]:
    """Lines of single videos come by the moment of their charge, as the index has them."""
    return ("at", By.VIDEO) if By.VIDEO in grouping.by else grouping.ordered


def _added_up(grouping: Grouping, charges: sa.Subquery) -> sa.Select[Any]:
    shown = [charges.c[name] for name in dict.fromkeys((*grouping.ordered, *_order(grouping)))]
    if By.VIDEO in grouping.by:
        return sa.select(*shown, sa.literal(1).label("videos"), *(charges.c[meter.name] for meter in _METERS))
    sums = [sa.func.sum(charges.c[meter.name]).label(meter.name) for meter in _METERS]
    return sa.select(*shown, sa.func.count().label("videos"), *sums).group_by(*shown)


def _begin(grouping: Grouping, after: tuple[str, ...]) -> Mapping[str, Any]:
    """The last line of the page before, by name."""
    if after and len(after) != len(_order(grouping)):
        raise ValueError("not a place in these lines")
    return (
        {name: _PARSE[name](text) for name, text in zip(_order(grouping), after, strict=bool(after))} if after else {}
    )


def _since(begin: Mapping[str, Any]) -> tuple[sa.ColumnElement[bool], ...]:
    """Days that are done are not read again."""
    if "at" in begin:
        return (ledger.c.at >= begin["at"],)
    return (ledger.c.at >= datetime.combine(begin[By.DAY], time(), UTC),) if By.DAY in begin else ()


def _line(row: RowMapping, grouping: Grouping) -> Line:
    values: dict[str, Any] = {name.value: row[name] if name in grouping.by else None for name in By}
    values["key"] = None if values["key"] == NO_KEY else values["key"]
    values |= {name: int(row[name]) for name in ("videos", "micros", "video_ms", "gpu_ms")}
    return Line(**values)


def _moment(part: str) -> datetime:
    found = datetime.fromisoformat(part)
    if found.utcoffset() != timedelta():
        raise ValueError("no page gave this")
    return found


def _text(part: str) -> str:
    if "\0" in part:
        raise ValueError("Postgres stores no NUL")
    return part


_METERS = (ledger.c.micros, ledger.c.video_ms, ledger.c.gpu_ms)
_PARSE: Mapping[str, Callable[[str], Any]] = {
    "at": _moment,
    By.DAY: date.fromisoformat,
    By.TENANT: UUID,
    By.KEY: UUID,
    By.MODEL: _text,
    By.LABEL: _text,
    By.VIDEO: UUID,
}
