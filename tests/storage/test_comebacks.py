from __future__ import annotations

import time

import sqlalchemy as sa

from domain.lifecycle import Stage, State
from storage import leases
from storage.schedule import Lease
from storage.tables import attempts
from tests.fixtures.videos import World


def outcomes(world: World) -> list[str | None]:
    with world.database.transaction_for_any_tenant() as connection:
        return list(connection.scalars(sa.select(attempts.c.outcome).order_by(attempts.c.video_id, attempts.c.fence)))


def reaped(world: World) -> Lease:
    """A lease that ran out and was taken away."""
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.01)
    time.sleep(0.05)
    with world.database.transaction_for_any_tenant() as connection:
        assert len(leases.reap_for_any_tenant(connection, 10)) == 1
    return lease


def test_a_worker_that_comes_back_late_is_noted_at_its_attempt(world: World) -> None:
    lease = reaped(world)
    assert not world.move(lease, State.RENDERED)
    with world.database.transaction(lease.tenant_id) as connection:
        assert leases.came_back(connection, lease, "rejected")
        assert not leases.came_back(connection, lease, "stopped")
    assert outcomes(world) == ["done", "rejected"]


def test_an_attempt_that_ended_otherwise_keeps_its_outcome(world: World) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    assert world.move(lease, State.RENDERED)
    with world.database.transaction(tenant) as connection:
        assert not leases.came_back(connection, lease, "rejected")
    assert outcomes(world) == ["done", "done"]
