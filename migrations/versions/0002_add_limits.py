"""Give tenants limits on models, requests, streams and endpoints."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Give tenants limits on models, requests, streams and endpoints."""
    op.execute("""
    ALTER TABLE tenants
      ADD COLUMN allowed_models TEXT[],
      ADD COLUMN moderation JSONB,
      ADD COLUMN requests_per_minute BIGINT,
      ADD COLUMN creates_per_minute BIGINT,
      ADD COLUMN streams BIGINT DEFAULT '16' NOT NULL,
      ADD COLUMN endpoints BIGINT DEFAULT '20' NOT NULL
    """)
