"""Where events go, and what became of them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY

from storage.tables.columns import id_, metadata, number, of_tenant, of_video, text, time

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    text("name"),
    text("url"),
    Column("event_types", ARRAY(sa.Text), nullable=False),
    time("created_at", now=True),
    time("updated_at", now=True),
    time("disabled_at"),
    time("deleted_at"),
    of_tenant(),
    UniqueConstraint("tenant_id", "id"),
)
Index("webhook_endpoints_by_tenant", webhook_endpoints.c.tenant_id, webhook_endpoints.c.id)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    id_("endpoint_id"),
    Column("ciphertext", sa.LargeBinary, nullable=False),  # AES-GCM, nonce first
    text("key_id"),
    text("hint"),
    time("created_at", now=True),
    time("expires_at"),
    ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"]),
)
Index("webhook_secrets_by_endpoint", webhook_secrets.c.endpoint_id)

webhook_messages = Table(
    "webhook_messages",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    id_("video_id"),
    text("type"),
    Column("body", sa.LargeBinary, nullable=False),  # the exact bytes that are signed
    time("created_at", now=True),
    of_video(),
    UniqueConstraint("tenant_id", "id"),
    UniqueConstraint("video_id", name="webhook_messages_one_end"),  # exactly one terminal message per video
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    id_("tenant_id"),
    id_("message_id"),
    id_("endpoint_id"),
    text("state"),  # pending, delivered, failed, cancelled
    Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    number("fence", default="0"),
    time("next_at", now=True),
    time("lease_until"),
    time("ended_at"),
    PrimaryKeyConstraint("message_id", "endpoint_id"),
    ForeignKeyConstraint(["tenant_id", "message_id"], ["webhook_messages.tenant_id", "webhook_messages.id"]),
    ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"]),
)
Index("webhook_deliveries_due", webhook_deliveries.c.next_at, postgresql_where=sa.text("state = 'pending'"))

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    id_("tenant_id"),
    id_("message_id"),
    id_("endpoint_id"),
    Column("attempt", sa.SmallInteger, nullable=False),
    number("fence"),
    time("at", now=True),
    number("duration_ms"),
    Column("status", sa.SmallInteger),
    text("error", null=True),
    text("response", null=True),  # the first 16 KiB
    PrimaryKeyConstraint("message_id", "endpoint_id", "fence"),
    ForeignKeyConstraint(
        ["message_id", "endpoint_id"], ["webhook_deliveries.message_id", "webhook_deliveries.endpoint_id"]
    ),
)
