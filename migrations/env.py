"""Alembic's entry: one transaction, one at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from storage.tables import metadata


def run() -> None:
    """Apply what is missing, alone: a second migrator waits at the advisory lock."""
    engine = sa.create_engine(context.config.attributes["owner_url"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('kinema migrations'))"))
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
