"""`kinema usage`: what tenants were charged, added up."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cli.operating import Desk, at_work, find_tenant, show
from domain import ids
from domain import usage as rules
from domain.ids import Kind
from domain.quotas import Period
from domain.usage import Grouping, Line, Span
from storage import usage

PAGE = 1000
_KINDS = {"tenant": Kind.TENANT, "key": Kind.KEY, "video": Kind.VIDEO}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--tenant", help="id or name; else all")
    parser.add_argument("--group-by", default="day,tenant", help="some of day, tenant, key, model, label:KEY, video")
    parser.add_argument("--start", metavar="TIME", help="a date, ISO 8601 time or Unix seconds (this month's start)")
    parser.add_argument("--end", metavar="TIME", help="the first moment that counts no more (now)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """0. Raises the refusals of `domain.errors`."""
    grouping = rules.grouping(options.group_by)
    now = datetime.now(UTC)
    start = rules.moment(options.start, "--start") if options.start else Period.MONTH.start(now)
    span = Span(start, rules.moment(options.end, "--end") if options.end else now)
    with at_work() as desk:
        tenant = find_tenant(desk.connection, options.tenant).id if options.tenant else None
        lines = [_row(line, grouping) for line in _lines(desk, tenant, span, grouping)]
    show(lines, as_json=options.json)
    return 0


def _lines(desk: Desk, tenant: UUID | None, span: Span, grouping: Grouping) -> Iterator[Line]:
    after: tuple[str, ...] | None = ()
    while after is not None:
        if tenant is None:
            page = usage.page_for_any_tenant(desk.connection, span, grouping, limit=PAGE, after=after)
        else:
            page = usage.page(desk.connection, tenant, span, grouping, limit=PAGE, after=after)
        yield from page.lines
        after = page.after


def _row(line: Line, grouping: Grouping) -> dict[str, Any]:
    row = {name: value for name, value in asdict(line).items() if name not in set(rules.By) or name in grouping.by}
    row = {name: str(value) if name == "day" else value for name, value in row.items()}
    return {name: ids.public(_KINDS[name], value) if isinstance(value, UUID) else value for name, value in row.items()}
