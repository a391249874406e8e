"""Add administrators and the audit log."""

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE admin_keys (
  id UUID NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  digest BYTEA NOT NULL,
  pepper_id TEXT NOT NULL,
  hint TEXT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE,
  revoked_at TIMESTAMP WITH TIME ZONE,
  last_used_at TIMESTAMP WITH TIME ZONE,
  PRIMARY KEY (id),
  UNIQUE (digest)
);
CREATE TABLE audit_log (
  id UUID NOT NULL,
  at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  tenant UUID,
  before JSONB,
  after JSONB,
  request_id TEXT,
  PRIMARY KEY (id)
);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant, id);
CREATE INDEX audit_log_by_target ON audit_log (target, id);
ALTER TABLE api_keys ADD COLUMN replaces UUID;
ALTER TABLE workers ADD COLUMN drain_requested_at TIMESTAMP WITH TIME ZONE;
CREATE INDEX videos_without_result ON videos (id)
  WHERE state IN ('blocked', 'cancelled', 'expired', 'failed');
"""

# Privileges stop the service, the trigger stops the owner too.
FOREVER = """
CREATE FUNCTION kinema_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_forever BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION kinema_refuse_rewriting();
GRANT SELECT, INSERT ON audit_log TO kinema_service;
"""


def upgrade() -> None:
    """Add administrators and the audit log."""
    op.execute(TABLES)
    op.execute(FOREVER)
    op.execute("GRANT SELECT, INSERT, UPDATE ON admin_keys TO kinema_service")
