"""Tenants, their keys, and their place in the queues."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY

from storage.tables.columns import id_, json, metadata, number, of_tenant, text, time

tenants = Table(
    "tenants",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    text("name"),
    Column("weight", sa.Double, nullable=False, server_default="1"),
    number("render_cap", default="4"),  # videos of this tenant that may render at once, per pool
    number("retention_seconds", default="86400"),
    Column("allowed_models", ARRAY(sa.Text)),  # names of models.toml; null: all
    json("moderation", null=True),  # departures from the installation's policy
    number("requests_per_minute", null=True),  # null: no limit
    number("creates_per_minute", null=True),
    number("streams", default="16"),  # progress streams that may be open at once
    number("endpoints", default="20"),  # webhook endpoints that may exist at once
    time("created_at", now=True),
    time("disabled_at"),
    sa.CheckConstraint("weight > 0 AND render_cap >= 0", name="tenants_sane"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    text("name"),
    Column("digest", sa.LargeBinary, nullable=False, unique=True),
    text("pepper_id"),
    text("hint"),
    Column("scopes", ARRAY(sa.Text), nullable=False, server_default="{}"),
    time("created_at", now=True),
    time("expires_at"),
    time("revoked_at"),
    time("last_used_at"),
    Column("replaces", sa.Uuid),  # the key that this one came for
    of_tenant(),
    UniqueConstraint("tenant_id", "id"),
)

tenant_sched = Table(
    "tenant_sched",
    metadata,
    id_("tenant_id"),
    text("queue"),
    number("running", default="0"),
    Column("vtime", sa.Double, nullable=False, server_default="0"),
    Column("asleep", sa.Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("queue", "tenant_id"),
    of_tenant(),
    sa.CheckConstraint("running >= 0", name="tenant_sched_running"),
)
Index("tenant_sched_awake", tenant_sched.c.queue, tenant_sched.c.vtime, postgresql_where=sa.text("NOT asleep"))
