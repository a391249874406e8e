"""Say where a video comes from."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Say where a video comes from. The source's row outlives its deletion, so the line never breaks."""
    op.execute("""
    ALTER TABLE videos
      ADD COLUMN operation TEXT DEFAULT 'create' NOT NULL,
      ADD COLUMN source_id UUID,
      ADD FOREIGN KEY (tenant_id, source_id) REFERENCES videos (tenant_id, id)
    """)
    op.execute("CREATE INDEX videos_by_source ON videos (source_id) WHERE source_id IS NOT NULL")
