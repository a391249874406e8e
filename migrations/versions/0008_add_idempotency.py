"""Remember requests, so that a retry finds what it made; keep feedback."""

from alembic import op

from migrations.isolation import isolate

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE idempotency_keys (
  tenant_id UUID NOT NULL,
  key TEXT NOT NULL,
  fingerprint BYTEA NOT NULL,
  resource TEXT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  PRIMARY KEY (tenant_id, key),
  FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
CREATE TABLE submissions (
  tenant_id UUID NOT NULL,
  key_id UUID NOT NULL,
  fingerprint BYTEA NOT NULL,
  resource TEXT NOT NULL,
  counts SMALLINT[] NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  retrieved_at TIMESTAMP WITH TIME ZONE,
  PRIMARY KEY (tenant_id, resource),
  FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX submissions_alike ON submissions (tenant_id, key_id, fingerprint);
CREATE INDEX submissions_age ON submissions (created_at);
CREATE TABLE feedback (
  tenant_id UUID NOT NULL,
  video_id UUID NOT NULL,
  key_id UUID NOT NULL,
  rating SMALLINT NOT NULL,
  reason TEXT,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  PRIMARY KEY (video_id, key_id),
  FOREIGN KEY(tenant_id, video_id) REFERENCES videos (tenant_id, id),
  CONSTRAINT feedback_rating CHECK (rating IN (-1, 1))
);
CREATE INDEX feedback_recent ON feedback (updated_at);
"""


def upgrade() -> None:
    """Remember requests, so that a retry finds what it made; keep feedback."""
    op.execute(TABLES)
    for table in ("idempotency_keys", "submissions", "feedback"):
        isolate(table)
