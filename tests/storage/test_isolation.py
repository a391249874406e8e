from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from domain.ids import new_id
from domain.lifecycle import State
from storage import videos
from storage.tables import SERVICE_TABLES, TENANT_TABLES, metadata
from tests.fixtures.videos import World

ROWS = [table for table in metadata.sorted_tables if table.name in TENANT_TABLES]
# Where a check or a trigger wants more than a value of the right type.
SPECIAL: dict[str, dict[str, Any]] = {"videos": {"state": State.RECEIVED, "queue": "screen"}}


def fill(connection: Connection, tenant_id: UUID) -> dict[str, dict[str, Any]]:
    """A row of the tenant's in every table that has tenants, parents first; a new table is filled like any other."""
    rows: dict[str, dict[str, Any]] = {"tenants": {"id": tenant_id}}
    for table in ROWS:
        row = {column.name: value_of(column.type) for column in table.c if column.server_default is None}
        row |= {"tenant_id": tenant_id} | SPECIAL.get(table.name, {})
        for key in table.foreign_key_constraints:
            parent = rows.get(key.referred_table.name)
            for element in key.elements:  # a table that refers to itself, as videos to their source, begins with none
                row[element.parent.name] = parent[element.column.name] if parent else row[element.parent.name]
                if parent is None and element.parent.nullable:
                    row[element.parent.name] = None
        rows[table.name] = row
        connection.execute(sa.insert(table).values(row))
    return rows


MADE: list[tuple[tuple[type, ...], Callable[[Any], Any]]] = [
    ((sa.Uuid,), lambda _: new_id()),
    ((sa.LargeBinary,), lambda _: new_id().bytes),
    ((sa.TIMESTAMP,), lambda _: datetime.now(UTC)),
    ((sa.ARRAY,), lambda kind: [value_of(kind.item_type)]),
    ((sa.JSON,), lambda _: {}),
    ((sa.Boolean,), lambda _: False),
    ((sa.Integer, sa.Float, sa.Numeric), lambda _: 1),
    ((sa.Text,), lambda _: new_id().hex),
]


def value_of(kind: object) -> Any:
    """Something that a column of this type takes, and that no other row has."""
    return next(make(kind) for types, make in MADE if isinstance(kind, types))


@pytest.fixture
def two(world: World) -> tuple[UUID, UUID]:
    """Two tenants, each with a row in every table."""
    both = world.tenant("mine"), world.tenant("theirs")
    for tenant_id in both:
        with world.database.transaction_for_any_tenant() as connection:
            fill(connection, tenant_id)
    return both


def owners(connection: Connection, table: str) -> set[UUID]:
    return set(connection.scalars(sa.text(f"SELECT tenant_id FROM {table}")))  # noqa: S608 - our own names


def test_a_tenant_sees_its_own_rows_only_in_every_table(world: World, two: tuple[UUID, UUID]) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        lacking = [table for table in TENANT_TABLES if not owners(connection, table) >= set(two)]
    assert lacking == [], "each table must have rows of both, or the test shows nothing"
    for tenant_id in two:
        with world.database.transaction(tenant_id) as connection:
            seen = {table: owners(connection, table) for table in TENANT_TABLES}
            assert seen == {table: {tenant_id} for table in TENANT_TABLES}
            assert connection.scalars(sa.text("SELECT id FROM tenants")).all() == [tenant_id]


def test_without_a_tenant_there_are_no_rows(world: World, two: tuple[UUID, UUID]) -> None:
    assert two
    with world.database.engine.begin() as connection:
        connection.execute(sa.text("SELECT set_config('role', 'kinema_tenant', true)"))
        for table in (*TENANT_TABLES, "tenants"):
            assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0, table  # noqa: S608 - our own names


def touched(world: World, tenant_id: UUID, statement: str, theirs: UUID) -> int:
    """Rows that a statement changed; none if it was refused."""
    try:
        with world.database.transaction(tenant_id) as connection:
            return connection.execute(sa.text(statement), {"theirs": theirs}).rowcount
    except sa.exc.ProgrammingError as refused:
        if re.search("permission denied|row-level security", str(refused)):
            return 0
        raise


def test_a_tenant_changes_no_row_of_another(world: World, two: tuple[UUID, UUID]) -> None:
    mine, theirs = two
    for table, column in [*((table, "tenant_id") for table in TENANT_TABLES), ("tenants", "id")]:
        for statement in (
            f"DELETE FROM {table} WHERE {column} = :theirs",  # noqa: S608 - our own names
            f"UPDATE {table} SET {column} = {column} WHERE {column} = :theirs",  # noqa: S608 - our own names
            f"UPDATE {table} SET {column} = :theirs",  # noqa: S608 - our own names
        ):
            assert touched(world, mine, statement, theirs) == 0, statement
        with world.database.transaction_for_any_tenant() as connection:
            count = f"SELECT count(*) FROM {table} WHERE {column} = :theirs"  # noqa: S608 - our own names
            assert connection.scalar(sa.text(count), {"theirs": theirs}) == 1, table


def test_a_tenant_adds_no_row_to_another(world: World, two: tuple[UUID, UUID]) -> None:
    mine, theirs = two
    for table in ROWS:
        with world.database.transaction_for_any_tenant() as connection:
            row = dict(connection.execute(sa.select(table).where(table.c.tenant_id == theirs)).mappings().one())
        with (
            pytest.raises(sa.exc.DBAPIError, match=r"permission denied|row-level security"),
            world.database.transaction(mine) as connection,
        ):
            connection.execute(sa.insert(table).values(row))


def test_a_tenant_has_no_way_to_the_tables_of_the_service(world: World) -> None:
    tenant_id = world.tenant()
    for table in SERVICE_TABLES:
        with (
            pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
            world.database.transaction(tenant_id) as connection,
        ):
            connection.execute(sa.text(f"SELECT * FROM {table}"))  # noqa: S608 - our own names


def test_another_tenants_video_is_not_found(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    video_id = world.create(theirs)
    with world.database.transaction(mine) as connection:
        assert videos.find(connection, mine, video_id) is None
        assert videos.find(connection, theirs, video_id) is None, "the role decides, not the argument"
        assert not videos.mark_deleted(connection, mine, video_id)
        assert videos.find(connection, mine, new_id()) is None


@pytest.mark.parametrize("table", ["events", "ledger", "verdicts"])
def test_history_cannot_be_rewritten(world: World, table: str) -> None:
    tenant = world.tenant()
    world.create(tenant)
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        world.database.transaction(tenant) as connection,
    ):
        connection.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608 - the parameter is our own
