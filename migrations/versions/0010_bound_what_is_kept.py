"""Bound what is kept: files, batches, endpoints."""

from alembic import op

revision = "0010"
down_revision = "0009"

FILES = """
DROP INDEX files_by_tenant, characters_by_tenant;
CREATE INDEX files_by_tenant ON files (tenant_id, purpose, id) INCLUDE (bytes);
CREATE INDEX characters_by_tenant ON characters (tenant_id, id) INCLUDE (bytes);
"""

# Row-level security is forced on the owner too, so it is lifted for as long as he looks at every row.
BATCHES = """
ALTER TABLE batches ADD COLUMN forget_at TIMESTAMP WITH TIME ZONE, NO FORCE ROW LEVEL SECURITY;
UPDATE batches SET forget_at = coalesce(completed_at, failed_at, cancelled_at, expired_at)
  + coalesce(output_expires_seconds, 2592000) * interval '1 second'
  WHERE status IN ('completed', 'failed', 'cancelled', 'expired');
ALTER TABLE batches FORCE ROW LEVEL SECURITY;
CREATE INDEX batches_forgotten ON batches (forget_at) WHERE forget_at IS NOT NULL;
"""

ENDPOINTS = """
ALTER TABLE webhook_endpoints ADD COLUMN forget_at TIMESTAMP WITH TIME ZONE, NO FORCE ROW LEVEL SECURITY;
UPDATE webhook_endpoints SET forget_at = coalesce(deleted_at, created_at) + interval '30 days'
  WHERE kind = 'request' OR deleted_at IS NOT NULL;
ALTER TABLE webhook_endpoints FORCE ROW LEVEL SECURITY;
CREATE INDEX webhook_endpoints_forgotten ON webhook_endpoints (forget_at) WHERE forget_at IS NOT NULL;
"""


def upgrade() -> None:
    """Bound what is kept."""
    op.execute(FILES)
    op.execute(BATCHES)
    op.execute(ENDPOINTS)
