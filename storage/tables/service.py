"""What the processes say of themselves; no tenant owns these rows."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql import ARRAY

from storage.tables.columns import json, metadata, number, text, time

workers = Table(
    "workers",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("queues", ARRAY(sa.Text), nullable=False),
    text("host"),
    number("pid"),
    text("state"),  # idle, busy, draining
    Column("video_id", sa.Uuid),
    text("model", null=True),
    time("started_at", now=True),
    time("beat_at", now=True),
    time("drain_requested_at"),
)

queue_snapshots = Table(
    "queue_snapshots",
    metadata,
    Column("queue", sa.Text, primary_key=True),
    json("backlog"),  # tenant id -> waiting videos, counted up to a bound
    number("slots"),
    number("mean_ms"),
    time("at", now=True),
)
