"""Videos and everything that happens to one."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, UniqueConstraint

from storage.tables.columns import (
    CLAIMABLE,
    LEASED,
    LIVING,
    id_,
    json,
    metadata,
    number,
    of_tenant,
    of_video,
    text,
    time,
)

videos = Table(
    "videos",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    Column("key_id", sa.Uuid),
    text("model"),  # as asked
    text("state"),
    text("queue"),  # where it waits or runs
    text("pool"),  # the render queue that it goes to
    Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
    number("fence", default="0"),
    number("event_seq", default="0"),
    Column("failures", sa.SmallInteger, nullable=False, server_default="0"),  # of the stage in hand
    Column("crashes", sa.SmallInteger, nullable=False, server_default="0"),  # of the stage in hand
    json("request"),
    json("plan"),
    number("price_micros"),
    number("estimate_ms"),
    number("gpu_ms", default="0"),
    Column("progress", sa.SmallInteger, nullable=False, server_default="0"),
    json("stage_progress", null=True),
    text("worker", null=True),
    time("lease_until"),
    time("run_at", now=True),
    time("queue_deadline"),
    time("created_at", now=True),
    time("claimed_at"),
    time("completed_at"),
    time("expires_at"),
    time("deleted_at"),
    text("error_code", null=True),
    text("error_message", null=True),
    Column("retry_of", sa.Uuid),
    text("operation", default="create"),  # create, remix, edit, extend
    Column("source_id", sa.Uuid),  # the video that this one was made from; may be deleted
    of_tenant(),
    ForeignKeyConstraint(["tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"]),
    ForeignKeyConstraint(["tenant_id", "source_id"], ["videos.tenant_id", "videos.id"]),
    UniqueConstraint("tenant_id", "id"),
)

# The claim walks this index alone: tenants by skip scan, then the tenant's best video.

Index(
    "videos_claimable",
    videos.c.queue,
    videos.c.tenant_id,
    videos.c.priority.desc(),
    videos.c.id,
    postgresql_where=sa.text(CLAIMABLE),
)
Index("videos_leased", videos.c.claimed_at, postgresql_where=sa.text(LEASED))
Index("videos_by_tenant", videos.c.tenant_id, videos.c.id, postgresql_where=sa.text("deleted_at IS NULL"))
Index("videos_deadline", videos.c.queue_deadline, postgresql_where=sa.text(LIVING))
# For pages of administrators, who look for these across tenants.
Index("videos_by_model", videos.c.model, videos.c.id)
Index("videos_by_resolved_model", sa.text("(plan ->> 'model')"), videos.c.id)
Index("videos_by_error", videos.c.error_code, videos.c.id, postgresql_where=sa.text("error_code IS NOT NULL"))
Index("videos_by_source", videos.c.source_id, postgresql_where=sa.text("source_id IS NOT NULL"))
Index("videos_expiry", videos.c.expires_at, postgresql_where=sa.text("deleted_at IS NULL AND expires_at IS NOT NULL"))

Index(
    "videos_without_result",
    videos.c.id,
    postgresql_where=sa.text("state IN ('blocked', 'cancelled', 'expired', 'failed')"),
)

attempts = Table(
    "attempts",
    metadata,
    id_("tenant_id"),
    id_("video_id"),
    number("fence"),
    text("stage"),
    text("worker"),
    number("charged_ms"),
    time("started_at", now=True),
    time("ended_at"),
    text("outcome", null=True),
    json("timings", null=True),
    PrimaryKeyConstraint("video_id", "fence"),
    of_video(),
)
Index(
    "attempts_rendered",
    attempts.c.ended_at,
    postgresql_where=sa.text("stage = 'render' AND outcome = 'done'"),
)

events = Table(
    "events",
    metadata,
    id_("tenant_id"),
    id_("video_id"),
    number("seq"),
    text("type"),
    json("data"),
    time("at", now=True),
    PrimaryKeyConstraint("video_id", "seq"),
    of_video(),
)

outputs = Table(
    "outputs",
    metadata,
    id_("tenant_id"),
    id_("video_id"),
    text("kind"),  # video, thumbnail, spritesheet
    text("object_key"),
    text("content_type"),
    Column("sha256", sa.LargeBinary, nullable=False),
    number("bytes"),
    PrimaryKeyConstraint("video_id", "kind"),
    of_video(),
)

objects = Table(
    "objects",
    metadata,
    Column("key", sa.Text, primary_key=True),
    id_("tenant_id"),
    Column("video_id", sa.Uuid),
    number("fence", null=True),
    text("purpose"),  # input, draft, output
    time("created_at", now=True),
    time("doomed_at"),  # the sweeper may delete it from then on
    time("swept_at"),  # it did once, and will again: a put may land late
    of_tenant(),
)
Index("objects_by_video", objects.c.video_id)
Index("objects_doomed", objects.c.doomed_at, postgresql_where=sa.text("doomed_at IS NOT NULL"))

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    id_("video_id"),
    text("subject"),  # prompt, input, output
    text("decision"),  # allow, review, block
    text("policy"),
    text("model"),
    json("scores"),
    time("at", now=True),
    of_video(),
)
Index("verdicts_by_video", verdicts.c.video_id)
