"""Money and GPU time, and what a tenant may use of both."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table

from storage.tables.columns import id_, metadata, number, of_tenant, of_video, text, time

ledger = Table(
    "ledger",
    metadata,
    id_("tenant_id"),
    id_("video_id"),
    text("kind"),
    number("micros"),
    number("gpu_ms", default="0"),
    time("at", now=True),
    PrimaryKeyConstraint("video_id", "kind"),
    of_video(),
)
Index("ledger_by_tenant", ledger.c.tenant_id, ledger.c.at)

quotas = Table(
    "quotas",
    metadata,
    Column("tenant_id", sa.Uuid, primary_key=True),
    number("limit_micros"),
    number("used_micros", default="0"),
    of_tenant(),
)
