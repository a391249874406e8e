"""Many creates at once: a file of requests, one row for each of its lines."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, UniqueConstraint

from storage.tables.columns import id_, json, metadata, number, of_tenant, text, time

OPEN_BATCH = "status IN ('validating', 'in_progress', 'finalizing', 'cancelling')"

batches = Table(
    "batches",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    Column("key_id", sa.Uuid),
    id_("input_file_id"),
    text("endpoint"),
    text("completion_window"),
    json("metadata", null=True),
    number("output_expires_seconds", null=True),
    text("status"),
    json("errors", null=True),  # of the input file
    number("total", default="0"),
    number("completed", default="0"),
    number("failed", default="0"),
    Column("output_file_id", sa.Uuid),
    Column("error_file_id", sa.Uuid),
    time("created_at", now=True),
    Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),  # the end of the window
    time("in_progress_at"),
    time("finalizing_at"),
    time("cancelling_at"),
    time("completed_at"),
    time("failed_at"),
    time("expired_at"),
    time("cancelled_at"),
    number("fence", default="0"),
    text("runner", null=True),
    time("turn_at"),  # of the last claim
    number("failures", default="0"),  # unexpected ones, one after the other
    time("run_at", now=True),  # when it is looked at next; under a claim, when the lease ends
    time("forget_at"),  # of one that is over: when it goes with its lines
    of_tenant(),
    ForeignKeyConstraint(["tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"]),
    UniqueConstraint("tenant_id", "id"),
)
Index("batches_by_tenant", batches.c.tenant_id, batches.c.id)
Index("batches_by_turn", batches.c.tenant_id, batches.c.turn_at, postgresql_where=sa.text("turn_at IS NOT NULL"))
Index("batches_forgotten", batches.c.forget_at, postgresql_where=sa.text("forget_at IS NOT NULL"))
Index("batches_open", batches.c.run_at, postgresql_where=sa.text(OPEN_BATCH))

batch_lines = Table(
    "batch_lines",
    metadata,
    id_("tenant_id"),
    id_("batch_id"),
    number("line"),  # of the input file, from 1
    text("custom_id"),
    id_("request_id"),
    text("state"),  # waiting, created, completed, failed
    json("body", null=True),  # parameters of the create, forgotten as soon as they are used
    Column("video_id", sa.Uuid),
    json("error", null=True),  # why there is no video, or no result
    PrimaryKeyConstraint("batch_id", "line"),
    ForeignKeyConstraint(["tenant_id", "batch_id"], ["batches.tenant_id", "batches.id"]),
    # Written before its video in one transaction, so that the batch is locked first and the quota last.
    ForeignKeyConstraint(
        ["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"], deferrable=True, initially="DEFERRED"
    ),
)
Index("batch_lines_unfinished", batch_lines.c.batch_id, batch_lines.c.state, batch_lines.c.line)
Index("batch_lines_by_video", batch_lines.c.video_id, postgresql_where=sa.text("video_id IS NOT NULL"))
