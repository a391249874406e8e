"""Say where a video comes from."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Say where a video comes from."""
    op.execute("SELECT 1")
