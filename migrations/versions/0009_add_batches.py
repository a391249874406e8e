"""Add batches and their lines."""

from alembic import op

from migrations.isolation import isolate

revision = "0009"
down_revision = "0008"

TABLES = """
CREATE TABLE batches (
  id UUID NOT NULL,
  tenant_id UUID NOT NULL,
  key_id UUID,
  input_file_id UUID NOT NULL,
  endpoint TEXT NOT NULL,
  completion_window TEXT NOT NULL,
  metadata JSONB,
  output_expires_seconds BIGINT,
  status TEXT NOT NULL,
  errors JSONB,
  total BIGINT DEFAULT '0' NOT NULL,
  completed BIGINT DEFAULT '0' NOT NULL,
  failed BIGINT DEFAULT '0' NOT NULL,
  output_file_id UUID,
  error_file_id UUID,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  in_progress_at TIMESTAMP WITH TIME ZONE,
  finalizing_at TIMESTAMP WITH TIME ZONE,
  cancelling_at TIMESTAMP WITH TIME ZONE,
  completed_at TIMESTAMP WITH TIME ZONE,
  failed_at TIMESTAMP WITH TIME ZONE,
  expired_at TIMESTAMP WITH TIME ZONE,
  cancelled_at TIMESTAMP WITH TIME ZONE,
  fence BIGINT DEFAULT '0' NOT NULL,
  runner TEXT,
  turn_at TIMESTAMP WITH TIME ZONE,
  failures BIGINT DEFAULT '0' NOT NULL,
  run_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  PRIMARY KEY (id),
  FOREIGN KEY(tenant_id) REFERENCES tenants (id),
  FOREIGN KEY(tenant_id, key_id) REFERENCES api_keys (tenant_id, id),
  UNIQUE (tenant_id, id)
);
CREATE INDEX batches_by_tenant ON batches (tenant_id, id);
CREATE INDEX batches_by_turn ON batches (tenant_id, turn_at)
  WHERE turn_at IS NOT NULL;
CREATE INDEX batches_open ON batches (run_at)
  WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');
CREATE TABLE batch_lines (
  tenant_id UUID NOT NULL,
  batch_id UUID NOT NULL,
  line BIGINT NOT NULL,
  custom_id TEXT NOT NULL,
  request_id UUID NOT NULL,
  state TEXT NOT NULL,
  body JSONB,
  video_id UUID,
  error JSONB,
  PRIMARY KEY (batch_id, line),
  FOREIGN KEY(tenant_id, batch_id) REFERENCES batches (tenant_id, id),
  FOREIGN KEY(tenant_id, video_id) REFERENCES videos (tenant_id, id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX batch_lines_unfinished ON batch_lines (batch_id, state, line);
CREATE INDEX batch_lines_by_video ON batch_lines (video_id)
  WHERE video_id IS NOT NULL;
"""


def upgrade() -> None:
    """Add batches and their lines."""
    op.execute(TABLES)
    isolate("batches")
    isolate("batch_lines")
