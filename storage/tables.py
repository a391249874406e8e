"""The schema. `migrations/` builds it; a test holds the two together.

Every tenant table carries `tenant_id`, refers to its video by `(tenant_id, video_id)`, and lies under forced
row-level security. Times are timestamptz from the database's own clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, MetaData, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from domain.lifecycle import RUNS, TERMINAL

metadata = MetaData()

NOW = sa.func.clock_timestamp(type_=sa.TIMESTAMP(timezone=True))
CLAIMABLE = "state IN ({})".format(", ".join(f"'{run.waiting}'" for run in RUNS.values()))
LEASED = "state IN ({})".format(", ".join(f"'{run.running}'" for run in RUNS.values()))
LIVING = "state NOT IN ({})".format(", ".join(f"'{state}'" for state in sorted(TERMINAL)))


def _id(name: str = "id") -> Column[UUID]:
    return Column(name, sa.Uuid, nullable=False)


def _text(name: str, *, null: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, sa.Text, nullable=null, server_default=default)


def _number(name: str, *, null: bool = False, default: str | None = None) -> Column[int]:
    return Column(name, sa.BigInteger, nullable=null, server_default=default)


def _time(name: str, *, null: bool = True, now: bool = False) -> Column[datetime]:
    return Column(name, sa.TIMESTAMP(timezone=True), nullable=null and not now, server_default=NOW if now else None)


def _json(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, JSONB, nullable=null)


def _of_video() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"])


def _of_tenant() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["tenant_id"], ["tenants.id"])


tenants = Table(
    "tenants",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    _text("name"),
    Column("weight", sa.Double, nullable=False, server_default="1"),
    _number("render_cap", default="4"),  # videos of this tenant that may render at once, per pool
    _number("retention_seconds", default="86400"),
    _time("created_at", now=True),
    _time("disabled_at"),
    sa.CheckConstraint("weight > 0 AND render_cap >= 0", name="tenants_sane"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    _id("tenant_id"),
    _text("name"),
    Column("digest", sa.LargeBinary, nullable=False, unique=True),
    _text("pepper_id"),
    _text("hint"),
    Column("scopes", ARRAY(sa.Text), nullable=False, server_default="{}"),
    _time("created_at", now=True),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
    _of_tenant(),
    UniqueConstraint("tenant_id", "id"),
)

videos = Table(
    "videos",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    _id("tenant_id"),
    Column("key_id", sa.Uuid),
    _text("model"),  # as asked
    _text("state"),
    _text("queue"),  # where it waits or runs
    _text("pool"),  # the render queue that it goes to
    Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
    _number("fence", default="0"),
    _number("event_seq", default="0"),
    Column("failures", sa.SmallInteger, nullable=False, server_default="0"),  # of the stage in hand
    Column("crashes", sa.SmallInteger, nullable=False, server_default="0"),  # of the stage in hand
    _json("request"),
    _json("plan"),
    _number("price_micros"),
    _number("estimate_ms"),
    _number("gpu_ms", default="0"),
    Column("progress", sa.SmallInteger, nullable=False, server_default="0"),
    _json("stage_progress", null=True),
    _text("worker", null=True),
    _time("lease_until"),
    _time("run_at", now=True),
    _time("queue_deadline"),
    _time("created_at", now=True),
    _time("claimed_at"),
    _time("completed_at"),
    _time("expires_at"),
    _time("deleted_at"),
    _text("error_code", null=True),
    _text("error_message", null=True),
    Column("retry_of", sa.Uuid),
    _of_tenant(),
    ForeignKeyConstraint(["tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"]),
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
Index("videos_expiry", videos.c.expires_at, postgresql_where=sa.text("deleted_at IS NULL AND expires_at IS NOT NULL"))

attempts = Table(
    "attempts",
    metadata,
    _id("tenant_id"),
    _id("video_id"),
    _number("fence"),
    _text("stage"),
    _text("worker"),
    _number("charged_ms"),
    _time("started_at", now=True),
    _time("ended_at"),
    _text("outcome", null=True),
    _json("timings", null=True),
    PrimaryKeyConstraint("video_id", "fence"),
    _of_video(),
)

Index(
    "attempts_rendered",
    attempts.c.ended_at,
    postgresql_where=sa.text("stage = 'render' AND outcome = 'done'"),
)

events = Table(
    "events",
    metadata,
    _id("tenant_id"),
    _id("video_id"),
    _number("seq"),
    _text("type"),
    _json("data"),
    _time("at", now=True),
    PrimaryKeyConstraint("video_id", "seq"),
    _of_video(),
)

outputs = Table(
    "outputs",
    metadata,
    _id("tenant_id"),
    _id("video_id"),
    _text("kind"),  # video, thumbnail, spritesheet
    _text("object_key"),
    _text("content_type"),
    Column("sha256", sa.LargeBinary, nullable=False),
    _number("bytes"),
    PrimaryKeyConstraint("video_id", "kind"),
    _of_video(),
)

objects = Table(
    "objects",
    metadata,
    Column("key", sa.Text, primary_key=True),
    _id("tenant_id"),
    Column("video_id", sa.Uuid),
    _number("fence", null=True),
    _text("purpose"),  # input, draft, output
    _time("created_at", now=True),
    _time("doomed_at"),  # the sweeper may delete it from then on
    _of_tenant(),
)
Index("objects_by_video", objects.c.video_id)
Index("objects_doomed", objects.c.doomed_at, postgresql_where=sa.text("doomed_at IS NOT NULL"))

ledger = Table(
    "ledger",
    metadata,
    _id("tenant_id"),
    _id("video_id"),
    _text("kind"),
    _number("micros"),
    _number("gpu_ms", default="0"),
    _time("at", now=True),
    PrimaryKeyConstraint("video_id", "kind"),
    _of_video(),
)
Index("ledger_by_tenant", ledger.c.tenant_id, ledger.c.at)

quotas = Table(
    "quotas",
    metadata,
    Column("tenant_id", sa.Uuid, primary_key=True),
    _number("limit_micros"),
    _number("used_micros", default="0"),
    _of_tenant(),
)

tenant_sched = Table(
    "tenant_sched",
    metadata,
    _id("tenant_id"),
    _text("queue"),
    _number("running", default="0"),
    Column("vtime", sa.Double, nullable=False, server_default="0"),
    Column("asleep", sa.Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("queue", "tenant_id"),
    _of_tenant(),
    sa.CheckConstraint("running >= 0", name="tenant_sched_running"),
)
Index("tenant_sched_awake", tenant_sched.c.queue, tenant_sched.c.vtime, postgresql_where=sa.text("NOT asleep"))

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    _id("tenant_id"),
    _id("video_id"),
    _text("subject"),  # prompt, input, output
    _text("decision"),  # allow, review, block
    _text("policy"),
    _text("model"),
    _json("scores"),
    _time("at", now=True),
    _of_video(),
)
Index("verdicts_by_video", verdicts.c.video_id)

workers = Table(
    "workers",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("queues", ARRAY(sa.Text), nullable=False),
    _text("host"),
    _number("pid"),
    _text("state"),  # idle, busy, draining
    Column("video_id", sa.Uuid),
    _text("model", null=True),
    _time("started_at", now=True),
    _time("beat_at", now=True),
)

queue_snapshots = Table(
    "queue_snapshots",
    metadata,
    Column("queue", sa.Text, primary_key=True),
    _json("backlog"),  # tenant id -> waiting videos, counted up to a bound
    _number("slots"),
    _number("mean_ms"),
    _time("at", now=True),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    _id("tenant_id"),
    _text("name"),
    _text("url"),
    Column("event_types", ARRAY(sa.Text), nullable=False),
    _time("created_at", now=True),
    _time("updated_at", now=True),
    _time("disabled_at"),
    _time("deleted_at"),
    _of_tenant(),
    UniqueConstraint("tenant_id", "id"),
)
Index("webhook_endpoints_by_tenant", webhook_endpoints.c.tenant_id, webhook_endpoints.c.id)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    _id("tenant_id"),
    _id("endpoint_id"),
    Column("ciphertext", sa.LargeBinary, nullable=False),  # AES-GCM, nonce first
    _text("key_id"),
    _text("hint"),
    _time("created_at", now=True),
    _time("expires_at"),
    ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"]),
)
Index("webhook_secrets_by_endpoint", webhook_secrets.c.endpoint_id)

webhook_messages = Table(
    "webhook_messages",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    _id("tenant_id"),
    _id("video_id"),
    _text("type"),
    Column("body", sa.LargeBinary, nullable=False),  # the exact bytes that are signed
    _time("created_at", now=True),
    _of_video(),
    UniqueConstraint("tenant_id", "id"),
    UniqueConstraint("video_id", name="webhook_messages_one_end"),  # exactly one terminal message per video
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    _id("tenant_id"),
    _id("message_id"),
    _id("endpoint_id"),
    _text("state"),  # pending, delivered, failed, cancelled
    Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    _number("fence", default="0"),
    _time("next_at", now=True),
    _time("lease_until"),
    _time("ended_at"),
    PrimaryKeyConstraint("message_id", "endpoint_id"),
    ForeignKeyConstraint(["tenant_id", "message_id"], ["webhook_messages.tenant_id", "webhook_messages.id"]),
    ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"]),
)
Index("webhook_deliveries_due", webhook_deliveries.c.next_at, postgresql_where=sa.text("state = 'pending'"))

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    _id("tenant_id"),
    _id("message_id"),
    _id("endpoint_id"),
    Column("attempt", sa.SmallInteger, nullable=False),
    _number("fence"),
    _time("at", now=True),
    _number("duration_ms"),
    Column("status", sa.SmallInteger),
    _text("error", null=True),
    _text("response", null=True),  # the first 16 KiB
    PrimaryKeyConstraint("message_id", "endpoint_id", "fence"),
    ForeignKeyConstraint(
        ["message_id", "endpoint_id"], ["webhook_deliveries.message_id", "webhook_deliveries.endpoint_id"]
    ),
)

# Rows of one tenant: forced row-level security by `tenant_id`.
TENANT_TABLES = tuple(table.name for table in metadata.sorted_tables if "tenant_id" in table.c)
# Rows of the service itself; tenants is visible to its own tenant only.
SERVICE_TABLES = ("queue_snapshots", "workers")
