from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from domain.errors import QuotaExceeded
from domain.lifecycle import Stage, State
from storage import ledger
from storage.tables import ledger as entries
from storage.tables import quotas, videos
from tests.fixtures.videos import World


def limit(world: World, tenant: object, micros: int) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant, micros)


def test_a_create_beyond_the_limit_leaves_no_trace(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, 15_000)
    world.create(tenant)
    with pytest.raises(QuotaExceeded):
        world.create(tenant)
    with world.database.transaction(tenant) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(videos)) == 1
        assert connection.scalar(sa.select(sa.func.sum(entries.c.micros))) == 10_000


def test_a_failed_video_gives_its_share_of_the_limit_back(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, 10_000)
    world.create(tenant)
    assert world.move(world.must_claim(Stage.SCREEN), State.BLOCKED, error_code="moderation_blocked")
    world.create(tenant)


def test_forty_parallel_creates_at_the_last_units_are_exact(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, 70_000)

    def attempt(_: int) -> bool:
        try:
            world.create(tenant)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        accepted = sum(pool.map(attempt, range(40)))
    with world.database.transaction(tenant) as connection:
        assert connection.scalar(sa.select(quotas.c.used_micros)) == 70_000
        assert connection.scalar(sa.select(sa.func.sum(entries.c.micros))) == 70_000
    assert accepted == 7
