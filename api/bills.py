"""Usage as tenants and operators read it: a JSON page, JSON lines, or CSV that no spreadsheet mistakes for formulas."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from domain import ids
from domain.errors import InvalidRequest
from domain.ledger import Meter
from domain.quotas import Period
from domain.quotas import Quota as StoredQuota
from domain.usage import Grouping, Line, Span, moment
from storage.usage import Page

EXPORT_PAGE = 1_000  # lines that an export holds at a time
CURSOR_LIMIT = 4_096  # characters; a cursor is a day, two ids, and names of a model and labels
FORMULAS = ("=", "+", "-", "@", "\t", "\r")

Format = Literal["jsonl", "csv"]
Cursor = tuple[str, ...]
Read = Callable[[Cursor], Page]


class UsageLine(BaseModel):
    """Charges added up; what `group_by` does not name is null. `label` is "" where a video has no such label."""

    day: str | None = None
    tenant: str | None = None
    key: str | None = None
    model: str | None = None
    label: str | None = None
    video: str | None = None
    videos: int
    micros: int
    video_ms: int
    gpu_ms: int


class UsagePage(BaseModel):
    """A page of charges. `after` asks for the next page."""

    object: Literal["usage"] = "usage"
    start: int
    end: int
    group_by: str
    data: list[UsageLine]
    has_more: bool
    after: str | None


class Quota(BaseModel):
    """One limit: `held` by videos that live, `used` in this period. `resets_at` is null for a limit in all."""

    meter: Meter
    period: Period
    limit: int
    held: int
    used: int
    resets_at: int | None


def quota(stored: StoredQuota) -> Quota:
    """A limit as its tenant sees it."""
    resets_at = None if stored.resets_at is None else int(stored.resets_at.timestamp())
    return Quota(
        meter=stored.meter,
        period=stored.period,
        limit=stored.limit,
        held=stored.held,
        used=stored.used,
        resets_at=resets_at,
    )


def span(start: str | None, end: str | None) -> Span:
    """From `start` (this month's) to before `end` (now), never beyond now. Raises InvalidRequest."""
    now = datetime.now(UTC)
    first = Period.MONTH.start(now) if start is None else moment(start, "start")
    last = now if end is None else min(moment(end, "end"), now)
    if first >= last:
        raise InvalidRequest("'start' must lie before 'end', and before now.", param="start")
    return Span(first, last)


def line(stored: Line) -> UsageLine:
    """A line as it is shown."""
    return UsageLine(
        day=None if stored.day is None else stored.day.isoformat(),
        tenant=None if stored.tenant is None else ids.public(ids.Kind.TENANT, stored.tenant),
        key=None if stored.key is None else ids.public(ids.Kind.KEY, stored.key),
        model=stored.model,
        label=stored.label,
        video=None if stored.video is None else ids.public(ids.Kind.VIDEO, stored.video),
        videos=stored.videos,
        micros=stored.micros,
        video_ms=stored.video_ms,
        gpu_ms=stored.gpu_ms,
    )


def shown(span: Span, group_by: str, page: Page) -> dict[str, Any]:
    """The fields of a UsagePage."""
    return {
        "start": int(span.start.timestamp()),
        "end": int(span.end.timestamp()),
        "group_by": group_by,
        "data": [line(each) for each in page.lines],
        "has_more": page.after is not None,
        "after": write_cursor(page.after),
    }


def write_cursor(after: Cursor | None) -> str | None:
    """Where the next page begins, as one word."""
    return None if after is None else base64.urlsafe_b64encode(json.dumps(after).encode()).decode()


def read_page(read: Read, after: str) -> Page:
    """The page that a cursor asks for; "" for the first. Raises InvalidRequest."""
    try:
        if len(after) > CURSOR_LIMIT:
            raise ValueError  # noqa: TRY301 - one answer to whatever is no cursor
        parts: Any = json.loads(base64.urlsafe_b64decode(after)) if after else []
        return read(tuple(str(part) for part in parts))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise InvalidRequest("'after' must be what the page before gave.", param="after") from None


def export(read: Read, grouping: Grouping, kind: Format) -> StreamingResponse:
    """All lines as a file, one page in memory at a time. The first is read before the answer begins."""
    pages = _pages(read)
    body = map(_writer(grouping, kind), chain([next(pages)], pages))
    header = _csv([[*grouping.ordered, *_SUMS]]) if kind == "csv" else b""
    return StreamingResponse(
        chain([header], body),
        media_type="text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson",
        headers={"content-disposition": f'attachment; filename="usage.{kind}"'},
    )


_SUMS = ("videos", "micros", "video_ms", "gpu_ms")


def _pages(read: Read) -> Iterator[Page]:
    page = read(())
    yield page
    while page.after is not None:
        page = read(page.after)
        yield page


def _writer(grouping: Grouping, kind: Format) -> Callable[[Page], bytes]:
    names = [*grouping.ordered, *_SUMS]

    def write(page: Page) -> bytes:
        records = [{name: getattr(line(each), name) for name in names} for each in page.lines]
        if kind == "csv":
            return _csv([[_cell(record[name]) for name in names] for record in records])
        return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records).encode()

    return write


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: str | int | None) -> str | int:
    """Text that begins like a formula is marked as text."""
    if isinstance(value, str) and value.startswith(FORMULAS):
        return f"'{value}"
    return "" if value is None else value
