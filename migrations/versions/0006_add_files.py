"""Add files and characters."""

from alembic import op

from migrations.isolation import isolate

revision = "0006"
down_revision = "0005"

TABLES = """
CREATE TABLE files (
  id UUID NOT NULL,
  tenant_id UUID NOT NULL,
  purpose TEXT NOT NULL,
  filename TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  content_type TEXT NOT NULL,
  object_key TEXT NOT NULL,
  facts JSONB,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE,
  PRIMARY KEY (id),
  FOREIGN KEY(tenant_id) REFERENCES tenants (id),
  UNIQUE (tenant_id, id)
);
CREATE INDEX files_by_tenant ON files (tenant_id, purpose, id);
CREATE INDEX files_expiry ON files (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE characters (
  id UUID NOT NULL,
  tenant_id UUID NOT NULL,
  name TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  object_key TEXT NOT NULL,
  facts JSONB NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  PRIMARY KEY (id),
  FOREIGN KEY(tenant_id) REFERENCES tenants (id),
  UNIQUE (tenant_id, id)
);
CREATE INDEX characters_by_tenant ON characters (tenant_id, id);
"""


def upgrade() -> None:
    """Both belong to tenants."""
    op.execute(TABLES)
    for table in ("files", "characters"):
        isolate(table)
