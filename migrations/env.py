"""Alembic's entry: one migrator at a time, a transaction for each migration, no long wait for any lock."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import context

from storage.tables import metadata

ALONE = "hashtext('kinema migrations')"
LOOK_SECONDS = 0.2
SILENT_SECONDS = 3.0  # then who waits says so, once

log = logging.getLogger("migrations.env")  # Alembic runs this file under a name of its own


def run() -> None:
    """Apply what is missing."""
    attributes = context.config.attributes
    engine = sa.create_engine(
        attributes["owner_url"],
        poolclass=sa.NullPool,
        connect_args={"options": f"-c lock_timeout={attributes['lock_milliseconds']}"},
    )
    try:
        with _alone(engine), engine.connect() as connection:
            context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


@contextmanager
def _alone(engine: sa.Engine) -> Generator[None]:
    """No other migrator is at work inside the block.

    The lock is a session's, as one run is many transactions. A second migrator asks for it again and again: were it to
    wait inside a statement, an index that is built concurrently would wait for that statement, and both for ever.
    """
    says_so_at = time.monotonic() + SILENT_SECONDS
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(sa.text(f"SELECT pg_try_advisory_lock({ALONE})")):
            time.sleep(LOOK_SECONDS)
            if time.monotonic() >= says_so_at:
                log.warning("another migrator is at work; this one waits until it is done")
                says_so_at = math.inf
        yield


run()
