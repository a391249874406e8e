"""What a migration uses to change a table that is in use: see docs/operations/migrations.md."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

from storage.database import SERVICE_ROLE

BATCH = 1_000


def create_index(name: str, definition: str) -> None:
    """Build an index without stopping writers; `definition` is what follows its name, from ON.

    What an earlier try left half done is dropped first. Commits what the migration did before it.
    """
    invalid = sa.text(
        "SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = :name AND NOT i.indisvalid"
    )
    with _unhurried():
        connection = op.get_bind()
        if connection.scalar(invalid, {"name": name}) is not None:
            op.execute(f"DROP INDEX CONCURRENTLY {name}")
        op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} {definition}")


def drop_index(name: str) -> None:
    """Drop an index without stopping anybody. Commits what the migration did before it."""
    with _unhurried():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def add_check(table: str, name: str, condition: str) -> None:
    """A constraint that binds new rows at once; old ones are looked at while writers go on.

    Commits what the migration did before it.
    """
    known = sa.text("SELECT 1 FROM pg_constraint WHERE conname = :name AND conrelid = CAST(:table AS regclass)")
    with op.get_context().autocommit_block():
        if op.get_bind().scalar(known, {"name": name, "table": table}) is None:
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def backfill(table: str, assignment: str, missing: str, batch: int = BATCH) -> int:
    """UPDATE `table` SET `assignment` WHERE `missing`, `batch` rows at a time. How many rows there were.

    `missing` must no longer hold for a row that was updated. Each batch is a transaction of its own; rows that
    somebody holds are left for a later one. Commits what the migration did before it.
    """
    some = f"SELECT ctid FROM {table} WHERE {missing} LIMIT {batch} FOR UPDATE SKIP LOCKED"  # noqa: S608 - the migration's own words
    update = f"UPDATE {table} SET {assignment} WHERE ctid = ANY(ARRAY({some}))"  # noqa: S608 - as above
    left = f"SELECT 1 FROM {table} WHERE {missing} LIMIT 1"  # noqa: S608 - as above
    written = 0
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.execute(sa.text(f"SET ROLE {SERVICE_ROLE}"))  # the owner sees no tenant's rows
        while (rows := connection.execute(sa.text(update)).rowcount) or connection.scalar(sa.text(left)) is not None:
            written += rows
            connection.execute(sa.text("SELECT pg_sleep(0.01)"))  # others' turn
        connection.execute(sa.text("RESET ROLE"))
    return written


@contextmanager
def _unhurried() -> Generator[None]:
    """Outside of a transaction and without a bound: building concurrently waits for others and stops nobody."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        yield
        op.execute("RESET lock_timeout")
