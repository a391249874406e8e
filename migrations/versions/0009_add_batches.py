"""Add batches."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add batches."""
    op.execute("SELECT 1")
