"""What users think of their videos: one rating for each video and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from storage.tables import NOW, feedback, videos

Rating = Literal[-1, 1]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One rating. `reason` is None if none was given, or when the video was forgotten."""

    tenant_id: UUID
    video_id: UUID
    key_id: UUID
    rating: Rating
    reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Preference:
    """A rating beside what was rated: the model that drew the video, and whether the video still exists."""

    feedback: Feedback
    model: str
    deleted: bool


_COLUMNS = tuple(feedback.c[field.name] for field in fields(Feedback))


def give(
    connection: Connection, tenant_id: UUID, video_id: UUID, key_id: UUID, *, rating: Rating, reason: str | None
) -> Feedback:
    """Rate the video, or change the rating that this key gave it. The caller knows that the video is the tenant's."""
    said = {"rating": rating, "reason": reason, "updated_at": NOW}
    row = insert(feedback).values(tenant_id=tenant_id, video_id=video_id, key_id=key_id, **said)
    written = row.on_conflict_do_update(index_elements=["video_id", "key_id"], set_=said).returning(*_COLUMNS)
    return Feedback(**_values(connection.execute(written).mappings().one()))


def of_video(connection: Connection, tenant_id: UUID, video_id: UUID) -> Sequence[Feedback]:
    """All ratings of one video, the oldest first."""
    query = sa.select(*_COLUMNS).where(feedback.c.tenant_id == tenant_id, feedback.c.video_id == video_id)
    rows = connection.execute(query.order_by(feedback.c.created_at, feedback.c.key_id)).mappings()
    return [Feedback(**_values(row)) for row in rows]


def list_for_any_tenant(
    connection: Connection,
    *,
    limit: int,
    before: datetime | None = None,
    tenant_id: UUID | None = None,
    rating: Rating | None = None,
    model: str | None = None,
) -> Sequence[Preference]:
    """Up to `limit` ratings that were last changed before a moment, the newest first. `model` is the resolved name."""
    resolved = videos.c.plan["model"].astext
    query = sa.select(*_COLUMNS, resolved.label("model"), videos.c.deleted_at.is_not(None).label("deleted")).join(
        videos, sa.and_(videos.c.tenant_id == feedback.c.tenant_id, videos.c.id == feedback.c.video_id)
    )
    wanted = [
        (feedback.c.updated_at.__lt__, before),
        (feedback.c.tenant_id.__eq__, tenant_id),
        (feedback.c.rating.__eq__, rating),
        (resolved.__eq__, model),
    ]
    query = query.where(*(compare(value) for compare, value in wanted if value is not None))
    rows = connection.execute(query.order_by(feedback.c.updated_at.desc()).limit(limit)).mappings()
    return [Preference(Feedback(**_values(row)), row["model"], row["deleted"]) for row in rows]


def forget(connection: Connection, tenant_id: UUID, video_id: UUID) -> None:
    """The words go with the video; the rating stays as a number."""
    connection.execute(
        sa.update(feedback)
        .where(feedback.c.tenant_id == tenant_id, feedback.c.video_id == video_id, feedback.c.reason.is_not(None))
        .values(reason=None)
    )


def _values(row: sa.RowMapping) -> dict[str, Any]:
    return {column.name: row[column] for column in _COLUMNS}
