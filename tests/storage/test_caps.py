"""Over the cap videos wait; they are not refused."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from domain.lifecycle import Stage, State
from storage import schedule
from storage.tables import tenants
from tests.fixtures.videos import QUEUES, World


def set_cap(world: World, tenant: UUID, cap: int) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.update(tenants).where(tenants.c.id == tenant).values(render_cap=cap))


def test_a_cap_of_zero_pauses_a_tenant_and_raising_it_wakes_it(world: World) -> None:
    paused, other = world.tenant("paused", render_cap=0), world.tenant("other")
    waiting = [world.queued(paused) for _ in range(3)]
    assert world.claim(Stage.RENDER) is None
    theirs = world.queued(other)
    assert world.must_claim(Stage.RENDER).video_id == theirs, "others go on"
    set_cap(world, paused, 2)
    with world.database.transaction_for_any_tenant() as connection:
        assert schedule.waiting_for_any_tenant(connection, QUEUES[Stage.RENDER], 10) == 3, "the dispatcher rings"
    assert [world.must_claim(Stage.RENDER).video_id for _ in range(2)] == waiting[:2]
    assert world.claim(Stage.RENDER) is None


def test_a_lowered_cap_takes_nothing_away_that_runs(world: World) -> None:
    tenant = world.tenant(render_cap=2)
    for _ in range(3):
        world.queued(tenant)
    first, second = world.must_claim(Stage.RENDER), world.must_claim(Stage.RENDER)
    set_cap(world, tenant, 0)
    assert world.move(first, State.RENDERED)
    assert world.claim(Stage.RENDER) is None
    set_cap(world, tenant, 1)
    assert world.claim(Stage.RENDER) is None, "the second still runs"
    assert world.move(second, State.RENDERED)
    assert world.claim(Stage.RENDER) is not None


def test_a_paused_tenant_is_screened_and_published_all_the_same(world: World) -> None:
    tenant = world.tenant(render_cap=1)
    world.queued(tenant)
    world.advance(Stage.RENDER)
    set_cap(world, tenant, 0)
    world.create(tenant)
    assert world.advance(Stage.PUBLISH)
    assert world.advance(Stage.SCREEN)
    assert world.claim(Stage.RENDER) is None
