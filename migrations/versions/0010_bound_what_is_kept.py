"""Bound what is kept: files in number, and by an index alone."""

from alembic import op

revision = "0010"
down_revision = "0009"

FILES = """
DROP INDEX files_by_tenant, characters_by_tenant;
CREATE INDEX files_by_tenant ON files (tenant_id, purpose, id) INCLUDE (bytes);
CREATE INDEX characters_by_tenant ON characters (tenant_id, id) INCLUDE (bytes);
"""


def upgrade() -> None:
    """Bound what is kept."""
    op.execute(FILES)
