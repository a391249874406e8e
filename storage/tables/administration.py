"""Administrators, and what they did. No tenant sees either."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table

from storage.tables.columns import json, metadata, text, time

admin_keys = Table(
    "admin_keys",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    text("name"),
    text("role"),
    Column("digest", sa.LargeBinary, nullable=False, unique=True),
    text("pepper_id"),
    text("hint"),
    time("created_at", now=True),
    time("expires_at"),
    time("revoked_at"),
    time("last_used_at"),
)

# The column is not called tenant_id: the rows are about a tenant and do not belong to it.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    time("at", now=True),
    text("actor"),
    text("action"),
    text("target"),  # a public id
    Column("tenant", sa.Uuid),  # null: the change is about no tenant
    json("before", null=True),
    json("after", null=True),
    text("request_id", null=True),
)
Index("audit_log_by_tenant", audit_log.c.tenant, audit_log.c.id)
Index("audit_log_by_actor", audit_log.c.actor, audit_log.c.id)
Index("audit_log_by_action", audit_log.c.action, audit_log.c.id)
Index("audit_log_by_target", audit_log.c.target, audit_log.c.id)
