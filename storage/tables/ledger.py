"""Money, video time and GPU time, and what a tenant may use of them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table

from storage.tables.columns import id_, json, metadata, number, of_tenant, of_video, text, time

ledger = Table(
    "ledger",
    metadata,
    id_("tenant_id"),
    id_("video_id"),
    text("kind"),
    number("micros"),
    number("video_ms", default="0"),
    number("gpu_ms", default="0"),
    Column("key_id", sa.Uuid),  # this and the next two: of holds and charges
    text("model", null=True),
    json("labels", null=True),  # the video's metadata, kept for bills when the video forgets it
    time("at", now=True),
    PrimaryKeyConstraint("video_id", "kind"),
    of_video(),
    of_tenant(),  # an entry shares the tenant's row lock, which `set_limit` takes for itself
)
_CHARGES = sa.text("kind = 'charge'")
Index("ledger_charges", ledger.c.at, ledger.c.video_id, postgresql_where=_CHARGES)
Index("ledger_charges_by_tenant", ledger.c.tenant_id, ledger.c.at, ledger.c.video_id, postgresql_where=_CHARGES)

quotas = Table(
    "quotas",
    metadata,
    id_("tenant_id"),
    text("meter"),
    text("period"),
    number("allowed"),
    number("held"),  # by videos that live, whenever they were made
    number("used"),  # charged since `since`, the start of the period of the last entry
    time("since", null=False),
    PrimaryKeyConstraint("tenant_id", "meter"),
    of_tenant(),
)
