from __future__ import annotations

import pytest
import sqlalchemy as sa

from domain.ids import new_id
from domain.lifecycle import Stage
from storage import videos
from storage.tables import TENANT_TABLES
from tests.fixtures.videos import World


def completed(world: World, name: str) -> sa.Uuid:
    tenant = world.tenant(name)
    world.create(tenant)
    for stage in Stage:
        world.advance(stage)
    return tenant


def test_a_tenant_sees_its_own_rows_only_in_every_table(world: World) -> None:
    mine, theirs = completed(world, "mine"), completed(world, "theirs")
    with world.database.transaction(mine) as connection:
        for table in TENANT_TABLES:
            owners = set(connection.scalars(sa.text(f"SELECT tenant_id FROM {table}")))  # noqa: S608 - our own names
            assert theirs not in owners, table
            assert owners <= {mine}, table


def test_without_a_tenant_there_are_no_rows(world: World) -> None:
    completed(world, "mine")
    with world.database.engine.begin() as connection:
        connection.execute(sa.text("SELECT set_config('role', 'kinema_tenant', true)"))
        for table in TENANT_TABLES:
            assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0, table  # noqa: S608 - our own names


def test_a_tenant_cannot_write_rows_of_another(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    with (
        pytest.raises(sa.exc.ProgrammingError, match="row-level security"),
        world.database.transaction(mine) as connection,
    ):
        connection.execute(
            sa.text("INSERT INTO tenant_sched (tenant_id, queue) VALUES (:tenant, 'screen')"), {"tenant": theirs}
        )


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
