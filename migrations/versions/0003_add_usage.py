"""Meter video seconds and GPU time beside money."""

from alembic import op

from migrations.isolation import isolate

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Meter video seconds and GPU time beside money."""
    op.execute("""
    ALTER TABLE ledger
      ADD COLUMN video_ms BIGINT DEFAULT '0' NOT NULL,
      ADD COLUMN key_id UUID,
      ADD COLUMN model TEXT,
      ADD COLUMN labels JSONB,
      ADD FOREIGN KEY(tenant_id) REFERENCES tenants (id);
    DROP INDEX ledger_by_tenant;
    CREATE INDEX ledger_charges ON ledger (at, video_id) WHERE kind = 'charge';
    CREATE INDEX ledger_charges_by_tenant ON ledger (tenant_id, at, video_id) WHERE kind = 'charge';
    DROP TABLE quotas;
    CREATE TABLE quotas (
      tenant_id UUID NOT NULL,
      meter TEXT NOT NULL,
      period TEXT NOT NULL,
      allowed BIGINT NOT NULL,
      held BIGINT NOT NULL,
      used BIGINT NOT NULL,
      since TIMESTAMP WITH TIME ZONE NOT NULL,
      PRIMARY KEY (tenant_id, meter),
      FOREIGN KEY(tenant_id) REFERENCES tenants (id)
    );
    """)
    isolate("quotas")
