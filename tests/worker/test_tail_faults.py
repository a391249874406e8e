"""What goes wrong with a tail stays with its own video: no neighbour pays, and the worker does not stand still."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import schedule, workers
from storage.objects import ObjectStore
from storage.tables import videos as table
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.wire import Wire
from tests.fixtures.workers import dispatching, eventually, rows
from tests.worker.test_tail import in_tail, looking, outcomes, renderer, wire
from worker.pipeline.tail import STRAY_SECONDS

__all__ = ["wire"]  # pytest finds it here

RENDER = QUEUES[Stage.RENDER]


def met_a_crash(world: World, tenant: UUID, video_id: UUID) -> None:
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).where(table.c.id == video_id).values(crashes=1))


def overstaying(world: World, name: str, *, loading: float = 60.0) -> bool:
    with world.database.transaction_for_any_tenant() as connection:
        return name in workers.overstaying_for_any_tenant(
            connection, [name], 0.2, loading_seconds=loading, watched_seconds=60.0
        )


@pytest.mark.timeout(120)
def test_a_tail_that_hangs_costs_one_crash_and_leaves_its_worker_to_the_warden(
    world: World, settings: Settings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is claimed beside it, not even itself: a child that holds a video would be at work."""
    free, hung, put = threading.Event(), threading.Event(), ObjectStore.put

    def hangs(self: ObjectStore, *arguments: Any) -> None:
        if not hung.is_set():
            hung.set()
            free.wait(60)
            raise RuntimeError("at last")
        put(self, *arguments)

    monkeypatch.setattr(ObjectStore, "put", hangs)
    tenant = world.tenant()
    stuck = world.queued(tenant)
    quick = replace(settings, stall_seconds=2.0, reap_seconds=0.2)
    with renderer(quick, wire) as (process, presence), dispatching(quick), looking(process, presence):
        try:
            eventually(lambda: outcomes(world, stuck) == ["crashed"], 30)
            lost_at = time.monotonic()
            eventually(lambda: overstaying(world, process.worker.id), 10)
            print(f"the warden would end it {time.monotonic() - lost_at:.1f} s after its lease was taken")
            time.sleep(STRAY_SECONDS + 1.0)
            following = world.queued(tenant, priority=1)
            time.sleep(1.0)
            assert world.state(tenant, following) is State.QUEUED
            assert overstaying(world, process.worker.id)
            assert outcomes(world, stuck) == ["crashed"], "it did not wait for itself until it was poison"
        finally:
            free.set()
        eventually(lambda: world.state(tenant, following) is State.RENDERED, 30)
        eventually(lambda: world.state(tenant, stuck) is State.RENDERED, 30)
    assert outcomes(world, stuck) == ["stopped", "done"]


def test_a_video_that_met_a_crash_waits_for_a_tail_without_a_lease(
    world: World, settings: Settings, wire: Wire
) -> None:
    """So it neither pays for what the tail does to the worker, nor is taken for one that stands still."""
    tenant = world.tenant()
    first, suspect = world.queued(tenant), world.queued(tenant)
    met_a_crash(world, tenant, suspect)
    behind = world.queued(tenant)
    with renderer(settings, wire) as (process, presence):
        wire.cut()
        with looking(process, presence):
            eventually(lambda: in_tail(world, first), 30)
            time.sleep(1.0)
            assert [world.state(tenant, each) for each in (suspect, behind)] == [State.QUEUED, State.QUEUED]
            wire.mend()
            eventually(lambda: world.state(tenant, behind) is State.RENDERED, 60)
    began = "SELECT video_id FROM attempts WHERE stage = 'render' ORDER BY started_at"
    assert [row.video_id for row in rows(world.database, began)] == [first, suspect, behind]


def test_a_claim_beside_another_video_takes_none_that_met_a_crash(world: World) -> None:
    tenant = world.tenant()
    suspect = world.queued(tenant)
    met_a_crash(world, tenant, suspect)
    with world.database.transaction_for_any_tenant() as connection:
        assert schedule.claim_for_any_tenant(connection, Stage.RENDER, RENDER, "w", 30, beside=True) is None
    assert rows(world.database, "SELECT 1 FROM tenant_sched WHERE queue = :queue AND running > 0", queue=RENDER) == []
    assert world.must_claim(Stage.RENDER).video_id == suspect
