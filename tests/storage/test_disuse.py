"""Endpoints that are of no use any more go, and no request ever loses the one that it names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.lifecycle import State
from storage import announcements, disuse, webhooks
from tests.fixtures.videos import World
from tests.storage.test_announcements import register, rows

URL = "https://hooks.example.com/a"


def announce(world: World, tenant: UUID, video: UUID, before: tuple[str, Callable[[], None]] | None = None) -> None:
    with world.database.transaction(tenant) as connection:
        if before is not None:
            intervene(connection, *before)
        announcements.announce_state(connection, tenant, video, State.COMPLETED, URL)


def intervene(connection: sa.Connection, statement: str, action: Callable[[], None]) -> None:
    """Have something happen right before the connection runs a statement that begins like this."""

    def listen(*call: object) -> None:
        if str(call[2]).startswith(statement):
            action()

    sa.event.listen(connection, "before_cursor_execute", listen)


def forget(world: World, limit: int = 100) -> bool:
    with world.database.transaction_for_any_tenant() as connection:
        return disuse.forget_for_any_tenant(connection, limit)


def pass_time(world: World, days: int) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        earlier = sa.text("UPDATE webhook_endpoints SET forget_at = forget_at - :days * interval '1 day'")
        connection.execute(earlier, {"days": days})


def drop_log(world: World) -> None:
    rows(world, "DELETE FROM webhook_deliveries RETURNING 1")


def origins(world: World) -> list[UUID]:
    return [row[0] for row in rows(world, "SELECT id FROM webhook_endpoints WHERE kind = 'request'")]


@pytest.fixture
def tenant(world: World) -> UUID:
    return world.tenant()


def test_an_origin_goes_once_its_log_is_empty_and_it_is_old(world: World, tenant: UUID) -> None:
    announce(world, tenant, world.create(tenant))
    pass_time(world, 31)
    forget(world)
    assert len(origins(world)) == 1, "it has a delivery"
    drop_log(world)
    forget(world)
    assert len(origins(world)) == 1, "it was looked at today"
    pass_time(world, 1)
    forget(world)
    assert origins(world) == []


def test_a_young_origin_stays_whatever_its_log_holds(world: World, tenant: UUID) -> None:
    announce(world, tenant, world.create(tenant))
    drop_log(world)
    pass_time(world, 29)
    forget(world)
    assert len(origins(world)) == 1


def test_a_deleted_endpoint_goes_with_its_secrets_and_a_living_one_never(world: World, tenant: UUID) -> None:
    living, deleted = register(world, tenant, []), register(world, tenant, [])
    with world.database.transaction(tenant) as connection:
        assert webhooks.delete(connection, tenant, deleted.id)
    pass_time(world, 29)
    forget(world)
    assert len(rows(world, "SELECT 1 FROM webhook_endpoints")) == 2
    pass_time(world, 1)
    forget(world)
    assert rows(world, "SELECT id FROM webhook_endpoints") == [(living.id,)]
    assert rows(world, "SELECT endpoint_id FROM webhook_secrets") == [(living.id,)]


def test_many_go_step_by_step(world: World, tenant: UUID) -> None:
    crowd = (
        "INSERT INTO webhook_endpoints (id, tenant_id, name, url, event_types, kind, forget_at)"
        " SELECT gen_random_uuid(), :tenant, '', 'https://e' || n, '{}', 'request', now() - interval '1 s'"
        " FROM generate_series(1, 5) n"
    )
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.text(crowd), {"tenant": tenant})
    assert [forget(world, 2) for _ in range(3)] == [True, True, False]
    assert origins(world) == []


def test_an_origin_that_a_request_has_looked_up_is_not_removed_under_it(world: World, tenant: UUID) -> None:
    announce(world, tenant, world.create(tenant))
    drop_log(world)
    pass_time(world, 31)
    [before] = origins(world)
    looked: list[bool] = []
    meanwhile = "INSERT INTO webhook_messages", lambda: looked.append(forget(world))
    announce(world, tenant, world.create(tenant), meanwhile)
    assert looked == [False]
    assert origins(world) == [before]
    assert rows(world, "SELECT endpoint_id FROM webhook_deliveries") == [(before,)]


def test_an_origin_that_is_being_removed_is_made_anew(world: World, tenant: UUID) -> None:
    """The request arrives when its origin's row is locked and about to go: it waits, and finds it gone."""
    announce(world, tenant, world.create(tenant))
    drop_log(world)
    pass_time(world, 31)
    [before] = origins(world)
    video = world.create(tenant)
    with racing(lambda: announce(world, tenant, video)) as start, world.database.transaction_for_any_tenant() as mine:

        def meet() -> None:
            start()
            deadline = time.monotonic() + 5
            while not rows(world, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                assert time.monotonic() < deadline, "the request waits for the row"
                time.sleep(0.01)

        intervene(mine, "DELETE FROM webhook_endpoints", meet)
        disuse.forget_for_any_tenant(mine, 100)
    [after] = origins(world)
    assert after != before
    assert rows(world, "SELECT endpoint_id FROM webhook_deliveries") == [(after,)]
    assert rows(world, "SELECT forget_at > now() + interval '29 days' FROM webhook_endpoints") == [(True,)]


@contextmanager
def racing(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """A thread that the block starts; what it raises, the end of the block raises."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=run)
    yield thread.start
    thread.join(10)
    assert not thread.is_alive()
    if failures:
        raise failures[0]
