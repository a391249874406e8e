"""Extend the webhook platform."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Extend the webhook platform."""
    op.execute("SELECT 1")
