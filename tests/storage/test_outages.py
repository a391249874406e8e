from __future__ import annotations

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.outages import OUTAGES, is_away, may_hinder_renewals
from tests.fixtures.videos import World


def failing(world: World, *statements: str) -> Exception:
    """What the last of the statements raises."""
    with pytest.raises(OUTAGES) as caught:
        execute(world, *statements)
    return caught.value


def execute(world: World, *statements: str) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def test_a_server_that_only_reads_is_an_outage(world: World) -> None:
    write = "INSERT INTO workers (id, queues, host, pid, state) VALUES ('w', '{}', 'h', 1, 'idle')"
    assert is_away(failing(world, "SET TRANSACTION READ ONLY", write))


def test_a_slow_statement_is_no_reason_to_stop_reaping(world: World) -> None:
    assert not is_away(failing(world, "SET LOCAL statement_timeout = '50ms'", "SELECT pg_sleep(2)"))


@pytest.mark.parametrize(("state", "hinders"), [("53100", True), ("57014", True), ("58030", True), ("40P01", False)])
def test_what_stops_one_write_may_stop_all_but_a_deadlock(world: World, state: str, *, hinders: bool) -> None:
    error = failing(world, f"DO $$ BEGIN RAISE 'no' USING ERRCODE = '{state}'; END $$")
    assert not is_away(error)
    assert may_hinder_renewals(error) is hinders


def test_a_server_that_nobody_reaches_is_an_outage() -> None:
    nowhere = Database("postgresql+psycopg://nobody:none@127.0.0.1:9/none")
    with pytest.raises(OUTAGES) as caught, nowhere.transaction_for_any_tenant():
        pass
    assert is_away(caught.value)


def test_a_killed_session_is_an_outage(world: World) -> None:
    assert is_away(failing(world, "RESET ROLE", "SELECT pg_terminate_backend(pg_backend_pid())"))


def test_what_was_asked_for_is_not_in_the_message_of_an_error(world: World) -> None:
    with pytest.raises(sa.exc.SQLAlchemyError) as caught, world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text("SELECT CAST(:prompt AS integer)"), {"prompt": "a secret wish"})
    assert "parameters hidden" in str(caught.value).lower()
