"""What a migration uses to change a table that is in use: see docs/operations/migrations.md."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

from storage.database import SERVICE_ROLE

PAGES = 64  # half a megabyte, some hundred rows


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


def backfill(table: str, assignment: str, missing: str, pages: int = PAGES) -> int:
    """UPDATE `table` SET `assignment` WHERE `missing`, so many pages of the table at a time. How many rows there were.

    `missing` must no longer hold for a row that was updated. Each step is a transaction of its own; rows that somebody
    holds are left for another round. Commits what the migration did before it.
    """
    left = f"SELECT 1 FROM {table} WHERE {missing} LIMIT 1"  # noqa: S608 - the migration's own words
    written = 0
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.execute(sa.text(f"SET ROLE {SERVICE_ROLE}"))  # the owner sees no tenant's rows
        while connection.scalar(sa.text(left)) is not None:
            written += _round(connection, table, assignment, missing, pages)
        connection.execute(sa.text("RESET ROLE"))
    return written


def _round(connection: sa.Connection, table: str, assignment: str, missing: str, pages: int) -> int:
    """Once through the table as it is now: rows that are written meanwhile are new, or come to lie behind its end."""
    size = sa.text("SELECT pg_relation_size(CAST(:table AS regclass)) / current_setting('block_size')::int")
    here = f"ctid >= CAST(:first AS tid) AND ctid < CAST(:last AS tid) AND ({missing})"
    some = f"SELECT ctid FROM {table} WHERE {here} FOR UPDATE SKIP LOCKED"  # noqa: S608 - the migration's own words
    update = sa.text(f"UPDATE {table} SET {assignment} WHERE ctid = ANY(ARRAY({some}))")  # noqa: S608 - as above
    written = 0
    for page in range(0, (connection.scalar(size, {"table": table}) or 0) + 1, pages):
        written += connection.execute(update, {"first": f"({page},0)", "last": f"({page + pages},0)"}).rowcount
        connection.execute(sa.text("SELECT pg_sleep(0.01)"))  # others' turn
    return written


@contextmanager
def _unhurried() -> Generator[None]:
    """Outside of a transaction and without a bound: building concurrently waits for others and stops nobody."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        yield
        op.execute("RESET lock_timeout")
