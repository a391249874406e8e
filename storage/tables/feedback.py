"""What users think of their videos."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table

from storage.tables.columns import id_, metadata, of_video, text, time

feedback = Table(
    "feedback",
    metadata,
    id_("tenant_id"),
    id_("video_id"),
    id_("key_id"),
    Column("rating", sa.SmallInteger, nullable=False),  # 1 or -1
    text("reason", null=True),
    time("created_at", now=True),
    time("updated_at", now=True),
    PrimaryKeyConstraint("video_id", "key_id"),
    of_video(),
    sa.CheckConstraint("rating IN (-1, 1)", name="feedback_rating"),
)
Index("feedback_recent", feedback.c.updated_at)
