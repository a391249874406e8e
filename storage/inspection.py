"""Videos as operators look at them: across tenants, deleted ones too, with everything that happened to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.ids import earliest
from domain.lifecycle import State
from domain.video import Operation, Plan, Request
from storage.delivery_log import LAST
from storage.tables import ledger, verdicts, videos, webhook_deliveries, webhook_messages
from storage.videos import Video


@dataclass(frozen=True, slots=True)
class Inspected:
    """A video with what its owner does not see."""

    video: Video
    key_id: UUID | None
    retry_of: UUID | None
    deleted_at: datetime | None
    worker: str | None

    @property
    def id(self) -> UUID:
        """The video's."""
        return self.video.id


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator looks for; None: whatever it is."""

    tenant: UUID | None = None
    state: State | None = None
    model: str | None = None  # as asked or as resolved
    error: str | None = None
    since: datetime | None = None  # of the create
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the webhook of a video's end, at one endpoint."""

    message_id: UUID
    endpoint_id: UUID
    type: str
    state: str
    attempts: int
    created_at: datetime
    ended_at: datetime | None
    last_status: int | None
    last_error: str | None


_OWN = tuple(videos.c[field.name] for field in fields(Video))
_HIDDEN = (videos.c.key_id, videos.c.retry_of, videos.c.deleted_at, videos.c.worker)


def page_for_any_tenant(
    connection: Connection, wanted: Wanted, *, after: UUID | None, limit: int
) -> tuple[tuple[Inspected, ...], bool]:
    """Up to `limit` videos older than `after`, newest first, and whether there are more."""
    where = _conditions(wanted) if after is None else [*_conditions(wanted), videos.c.id < after]
    if wanted.model is not None:
        where = [videos.c.id.in_(_of_model(wanted.model, where, limit + 1))]
    query = sa.select(*_OWN, *_HIDDEN).where(*where).order_by(videos.c.id.desc()).limit(limit + 1)
    found = tuple(_inspected(row) for row in connection.execute(query).mappings())
    return found[:limit], len(found) > limit


def find_for_any_tenant(connection: Connection, video_id: UUID, *, lock: bool = False) -> Inspected | None:
    """Whosever video it is. `lock` keeps others from changing it until commit."""
    query = sa.select(*_OWN, *_HIDDEN).where(videos.c.id == video_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else _inspected(row)


def judgements(connection: Connection, tenant_id: UUID, video_id: UUID) -> Sequence[RowMapping]:
    """Verdicts in their order: subject, decision, policy, model, scores, at."""
    query = sa.select(verdicts).where(verdicts.c.tenant_id == tenant_id, verdicts.c.video_id == video_id)
    return connection.execute(query.order_by(verdicts.c.id)).mappings().all()


def entries(connection: Connection, tenant_id: UUID, video_id: UUID) -> Sequence[RowMapping]:
    """Ledger entries in their order: kind, micros, video_ms, gpu_ms, at."""
    query = sa.select(ledger).where(ledger.c.tenant_id == tenant_id, ledger.c.video_id == video_id)
    return connection.execute(query.order_by(ledger.c.at, ledger.c.kind)).mappings().all()


def deliveries(connection: Connection, tenant_id: UUID, video_id: UUID) -> Sequence[Delivery]:
    """The webhooks of a video, and how each stands."""
    query = (
        sa.select(
            webhook_deliveries.c.message_id,
            webhook_deliveries.c.endpoint_id,
            webhook_messages.c.type,
            webhook_deliveries.c.state,
            webhook_deliveries.c.attempts,
            webhook_messages.c.created_at,
            webhook_deliveries.c.ended_at,
            LAST.c.last_status,
            LAST.c.last_error,
        )
        .join(webhook_messages, webhook_messages.c.id == webhook_deliveries.c.message_id)
        .outerjoin(LAST, sa.true())
        .where(webhook_messages.c.tenant_id == tenant_id, webhook_messages.c.video_id == video_id)
    )
    rows = connection.execute(query.order_by(webhook_messages.c.id, webhook_deliveries.c.endpoint_id)).mappings()
    return [Delivery(**row) for row in rows]


def _of_model(model: str, where: list[sa.ColumnElement[bool]], most: int) -> sa.Select[tuple[UUID]]:
    """The newest ids of videos for which it was asked, and of those that it makes: each from an index of its own."""
    resolved = sa.literal_column("(plan ->> 'model')", sa.Text)  # written as the index is
    either = [
        sa.select(videos.c.id).where(name == model, *where).order_by(videos.c.id.desc()).limit(most).subquery()
        for name in (videos.c.model, resolved)
    ]
    found = sa.union(*(sa.select(each.c.id) for each in either)).subquery()
    return sa.select(found.c.id)


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.tenant is not None:
        found.append(videos.c.tenant_id == wanted.tenant)
    if wanted.state is not None:
        # Written into the text, so that the partial indexes apply.
        found.append(videos.c.state == sa.literal_column(f"'{wanted.state}'"))
    if wanted.error is not None:
        found.append(videos.c.error_code == wanted.error)
    if wanted.since is not None:
        found.append(videos.c.id >= earliest(wanted.since))
    if wanted.until is not None:
        found.append(videos.c.id < earliest(wanted.until))
    return found


def _inspected(row: RowMapping) -> Inspected:
    own: dict[str, Any] = {column.name: row[column] for column in _OWN}
    own["state"] = State(own["state"])
    own["request"] = Request.from_json(own["request"])
    own["plan"] = Plan.from_json(own["plan"])
    own["operation"] = Operation(own["operation"])
    return Inspected(Video(**own), *(row[column] for column in _HIDDEN))
