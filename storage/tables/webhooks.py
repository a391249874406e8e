"""Where events go, and what became of them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY

from domain.webhooks import CONCURRENCY, ENDS, MAX_RATE, MIN_RATE
from storage.tables.columns import id_, json, metadata, number, of_tenant, of_video, text, time


def _small(name: str, default: int = 0) -> Column[int]:
    return Column(name, sa.SmallInteger, nullable=False, server_default=str(default))


webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    # registered: by its owner; request: an origin that `webhook_url` named; default: the secret that signs for those
    text("kind", default="registered"),
    text("name"),
    text("url"),
    Column("event_types", ARRAY(sa.Text), nullable=False),
    time("created_at", now=True),
    time("updated_at", now=True),
    time("disabled_at"),
    text("disabled_reason", null=True),  # gone, failing
    time("deleted_at"),
    time("forget_at"),  # when it goes unless it is in use: origins of requests, and what is deleted
    Column("rate", sa.Double, nullable=True),  # deliveries a second
    _small("concurrency", CONCURRENCY),
    time("slot_at"),  # when the rate allows the next delivery
    # `domain.circuits.Health`, written at the end of every attempt; no index holds any of it.
    time("window_at"),
    number("window_attempts", default="0"),
    number("window_failures", default="0"),
    time("open_until"),
    Column("open_seconds", sa.Double, nullable=False, server_default="0"),
    time("failing_since"),
    number("failures", default="0"),
    _small("alert_percent"),
    time("alerted_at"),
    of_tenant(),
    UniqueConstraint("tenant_id", "id"),
    # Beyond, the time between two deliveries is no interval that a database can add.
    CheckConstraint(f"rate BETWEEN {MIN_RATE} AND {MAX_RATE:g}", name="webhook_endpoints_rate"),
)
Index("webhook_endpoints_by_tenant", webhook_endpoints.c.tenant_id, webhook_endpoints.c.id)
# Whoever may want an event; origins of requests and deleted endpoints are many more.
Index(
    "webhook_endpoints_living",
    webhook_endpoints.c.tenant_id,
    postgresql_where=sa.text("kind = 'registered' AND deleted_at IS NULL"),
)
Index(
    "webhook_endpoints_forgotten",
    webhook_endpoints.c.forget_at,
    postgresql_where=sa.text("forget_at IS NOT NULL"),
)
Index(
    "webhook_endpoints_of_requests",
    webhook_endpoints.c.tenant_id,
    webhook_endpoints.c.url,
    unique=True,
    postgresql_where=sa.text("kind <> 'registered'"),
)

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
    Column("video_id", sa.Uuid, nullable=True),
    number("sequence", null=True),  # of the video's messages; later ones are higher
    text("type"),
    Column("body", sa.LargeBinary, nullable=False),  # the exact bytes that are signed
    time("created_at", now=True),
    of_video(),
    UniqueConstraint("tenant_id", "id"),
    UniqueConstraint("video_id", "sequence"),
)
Index(
    "webhook_messages_one_end",  # exactly one terminal message per video
    webhook_messages.c.video_id,
    unique=True,
    postgresql_where=sa.text("type IN ({})".format(", ".join(f"'{end}'" for end in sorted(ENDS)))),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    id_("tenant_id"),
    id_("message_id"),
    id_("endpoint_id"),
    text("state"),  # pending, delivered, failed, cancelled
    text("url", null=True),  # of a request; else the endpoint's own
    _small("attempts"),
    number("fence", default="0"),
    time("next_at", now=True),
    Column("ready", sa.Boolean, nullable=False, server_default=sa.false()),  # its time has come: claims look at it
    time("lease_until"),
    time("ended_at"),
    PrimaryKeyConstraint("message_id", "endpoint_id"),
    ForeignKeyConstraint(["tenant_id", "message_id"], ["webhook_messages.tenant_id", "webhook_messages.id"]),
    ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"]),
)
# Claims hop over endpoints in the first, what must wait is woken from the second, the third counts what is under way.
Index(
    "webhook_deliveries_due",
    webhook_deliveries.c.endpoint_id,
    webhook_deliveries.c.next_at,
    postgresql_where=sa.text("state = 'pending' AND ready"),
)
Index(
    "webhook_deliveries_later",
    webhook_deliveries.c.next_at,
    postgresql_where=sa.text("state = 'pending' AND NOT ready"),
)
Index(
    "webhook_deliveries_leased",
    webhook_deliveries.c.lease_until,
    postgresql_where=sa.text("state = 'pending' AND lease_until IS NOT NULL"),
)
Index("webhook_deliveries_by_endpoint", webhook_deliveries.c.endpoint_id, webhook_deliveries.c.message_id)

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
    json("timings", null=True),
    Column("status", sa.SmallInteger),
    text("error", null=True),
    text("response", null=True),  # the first 16 KiB
    PrimaryKeyConstraint("message_id", "endpoint_id", "fence"),
    ForeignKeyConstraint(
        ["message_id", "endpoint_id"], ["webhook_deliveries.message_id", "webhook_deliveries.endpoint_id"]
    ),
)
