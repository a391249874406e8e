"""The schema. `migrations/` builds it; a test holds the two together.

Every tenant table carries `tenant_id`, refers to its video by `(tenant_id, video_id)`, and lies under forced
row-level security. Times are timestamptz from the database's own clock.
"""

from __future__ import annotations

from storage.tables.administration import admin_keys, audit_log
from storage.tables.batches import OPEN_BATCH, batch_lines, batches
from storage.tables.columns import CLAIMABLE, LEASED, LIVING, NOW, TICK, metadata
from storage.tables.feedback import feedback
from storage.tables.files import characters, files
from storage.tables.idempotency import idempotency_keys, submissions
from storage.tables.ledger import ledger, quotas
from storage.tables.service import queue_snapshots, workers
from storage.tables.tenants import api_keys, tenant_sched, tenants
from storage.tables.videos import attempts, events, objects, outputs, verdicts, videos
from storage.tables.webhooks import (
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoints,
    webhook_messages,
    webhook_secrets,
)

__all__ = [
    "CLAIMABLE",
    "LEASED",
    "LIVING",
    "NOW",
    "OPEN_BATCH",
    "SERVICE_TABLES",
    "TENANT_TABLES",
    "TICK",
    "admin_keys",
    "api_keys",
    "attempts",
    "audit_log",
    "batch_lines",
    "batches",
    "characters",
    "events",
    "feedback",
    "files",
    "idempotency_keys",
    "ledger",
    "metadata",
    "objects",
    "outputs",
    "queue_snapshots",
    "quotas",
    "submissions",
    "tenant_sched",
    "tenants",
    "verdicts",
    "videos",
    "webhook_attempts",
    "webhook_deliveries",
    "webhook_endpoints",
    "webhook_messages",
    "webhook_secrets",
    "workers",
]

# Rows of one tenant: forced row-level security by `tenant_id`.
TENANT_TABLES = tuple(table.name for table in metadata.sorted_tables if "tenant_id" in table.c)
# Rows of the service itself; tenants is visible to its own tenant only.
SERVICE_TABLES = ("admin_keys", "audit_log", "queue_snapshots", "workers")
