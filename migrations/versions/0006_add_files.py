"""Add files and characters."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add files and characters."""
    op.execute("SELECT 1")
