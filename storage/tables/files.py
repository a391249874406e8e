"""What tenants keep here: files, and the characters of their videos."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, UniqueConstraint

from storage.tables.columns import id_, json, metadata, number, of_tenant, text, time

files = Table(
    "files",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    text("purpose"),  # vision, batch, batch_output
    text("filename"),
    number("bytes"),
    text("content_type"),
    text("object_key"),
    json("facts", null=True),  # of a picture or a clip: width, height; seconds, fps
    time("created_at", now=True),
    time("expires_at"),
    of_tenant(),
    UniqueConstraint("tenant_id", "id"),
)
# Both hold the bytes, so that the quota is summed from them alone.
Index("files_by_tenant", files.c.tenant_id, files.c.purpose, files.c.id, postgresql_include=["bytes"])
Index("files_expiry", files.c.expires_at, postgresql_where=sa.text("expires_at IS NOT NULL"))

characters = Table(
    "characters",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    id_("tenant_id"),
    text("name"),
    number("bytes"),
    text("object_key"),
    json("facts"),  # width, height, seconds, fps
    time("created_at", now=True),
    of_tenant(),
    UniqueConstraint("tenant_id", "id"),
)
Index("characters_by_tenant", characters.c.tenant_id, characters.c.id, postgresql_include=["bytes"])
