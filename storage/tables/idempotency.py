"""What is remembered of creating requests, so that a repetition finds what the first one made."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table
from sqlalchemy.dialects.postgresql import ARRAY

from storage.tables.columns import id_, metadata, of_tenant, text, time

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    id_("tenant_id"),
    text("key"),  # as the client chose it
    Column("fingerprint", sa.LargeBinary, nullable=False),  # SHA-256 of route and parameters
    text("resource"),  # the public id of what was made
    time("created_at", now=True),
    time("expires_at", null=False),
    PrimaryKeyConstraint("tenant_id", "key"),
    of_tenant(),
)
Index("idempotency_keys_expiry", idempotency_keys.c.expires_at)

# One row for every create by a client that counts its retries; gone after minutes.
submissions = Table(
    "submissions",
    metadata,
    id_("tenant_id"),
    id_("key_id"),
    Column("fingerprint", sa.LargeBinary, nullable=False),
    text("resource"),
    Column("counts", ARRAY(sa.SmallInteger), nullable=False),  # of the requests that were answered with it
    time("created_at", now=True),
    time("retrieved_at"),  # somebody knows its id, so no retry asks for it any more
    PrimaryKeyConstraint("tenant_id", "resource"),
    of_tenant(),
)
Index("submissions_alike", submissions.c.tenant_id, submissions.c.key_id, submissions.c.fingerprint)
Index("submissions_age", submissions.c.created_at)
