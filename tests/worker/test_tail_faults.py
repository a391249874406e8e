"""What goes wrong with a tail stays with its own video: no neighbour pays, and the worker does not stand still."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from engines.testcard import TestcardEngine
from runtime.logs import _JsonLines, bound
from runtime.settings import Secret, Settings
from storage import leases, schedule, videos, workers
from storage.lifecycle import note_gpu_time
from storage.objects import ObjectStore
from storage.schedule import Lease
from storage.tables import attempts
from storage.tables import videos as table
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.wire import Wire
from tests.fixtures.workers import dispatching, eventually, rows
from tests.worker.looking import looking
from tests.worker.test_tail import in_tail, outcomes, renderer, wire
from worker.lease import Pulse
from worker.outcome import Done, Outcome
from worker.pipeline.render import render
from worker.pipeline.tail import STRAY_SECONDS, Parts, through
from worker.pipeline.work import _settle
from worker.process import Process

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


def test_a_database_that_fails_a_claim_does_not_end_claiming_while_there_is_a_tail(
    world: World, settings: Settings, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = world.tenant()
    first = world.queued(tenant)
    with renderer(settings, wire) as (process, presence):
        wire.cut()
        with looking(process, presence):
            eventually(lambda: in_tail(world, first), 30)
            with world.database.transaction_for_any_tenant() as connection:
                connection.execute(schedule._LOCK, {"queue": RENDER})  # longer than the claim's lock time-out
                eventually(lambda: "nothing can be claimed" in caplog.text, 4.5)
            second = world.queued(tenant)
            eventually(lambda: world.state(tenant, second) is State.RENDERING, 20)
            assert in_tail(world, first) or world.state(tenant, first) is State.RENDERING
            wire.mend()
            eventually(lambda: world.state(tenant, second) is State.RENDERED, 30)


@contextmanager
def drawn(world: World, process: Process) -> Iterator[tuple[Lease, Parts[Outcome]]]:
    """A video whose last frame was just decoded: what is left of it is its tail."""
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER, lease_seconds=60)
    with world.database.transaction(lease.tenant_id) as connection:
        video = videos.find(connection, lease.tenant_id, lease.video_id)
    assert video is not None
    with Pulse(process, lease) as pulse:
        parts = render(process, lease, video, pulse)
        next(parts)
        yield lease, parts


def test_a_tail_keeps_no_model_in_memory(world: World, process: Process) -> None:
    """The next video's may need the room."""
    engine = TestcardEngine()
    alive = weakref.ref(engine)
    process.engines._warm["testcard"] = engine, 10
    del engine
    with drawn(world, process) as (_, parts):
        process.engines._room = 15
        process.engines._make_room(10)
        gc.collect()
        assert alive() is None
        assert isinstance(through(parts), Done)


def test_gpu_time_that_could_not_be_noted_is_told_with_the_result(world: World, process: Process) -> None:
    with drawn(world, process) as (lease, parts):
        with world.database.transaction_for_any_tenant() as connection:
            connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(sa.select(attempts).where(attempts.c.video_id == lease.video_id).with_for_update())
            outcome = through(parts)  # the note waits for the row until its lock time-out, two seconds
        noted = "SELECT timings FROM attempts WHERE stage = 'render'"
        assert [row.timings for row in rows(world.database, noted)] == [None], "it was missed"
        assert _settle(process, lease, outcome) is State.RENDERED
    found = "SELECT gpu_ms, extract(epoch FROM ended_at - started_at) * 1000 AS took_ms FROM videos JOIN attempts"
    (cost,) = rows(world.database, f"{found} ON video_id = videos.id AND stage = 'render'")
    assert cost.gpu_ms <= cost.took_ms - 1900


@pytest.mark.parametrize("later", [False, True], ids=["handed back", "claimed elsewhere since"])
def test_a_tail_is_never_taken_for_a_model_that_loads(world: World, *, later: bool) -> None:
    lease = drawn_and_left(world)
    if later:
        world.must_claim(Stage.RENDER, "another")
    time.sleep(0.3)
    assert overstaying(world, lease.worker)


def drawn_and_left(world: World) -> Lease:
    """A renderer drew a video in 50 ms, says that it is at it still, and lost it 0.4 s after its claim."""
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER)
    with world.database.transaction_for_any_tenant() as connection:
        who = workers.Worker(lease.worker, (RENDER,), "here", 1)
        workers.beat_for_any_tenant(connection, who, "busy", lease.video_id)
        note_gpu_time(connection, lease, 50)
    time.sleep(0.4)
    with world.database.transaction(lease.tenant_id) as connection:
        assert leases.hand_back(connection, lease) is State.QUEUED
    return lease


def test_the_mean_that_etas_come_from_counts_no_tails(world: World) -> None:
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER)
    with world.database.transaction_for_any_tenant() as connection:
        note_gpu_time(connection, lease, 50)
    time.sleep(0.3)
    assert world.move(lease, State.RENDERED, outcome="done")
    with world.database.transaction_for_any_tenant() as connection:
        workers.snapshot_for_any_tenant(connection, RENDER)
        snapshot = workers.read_snapshot_for_any_tenant(connection, RENDER)
    assert snapshot is not None
    assert snapshot.mean_ms == 50


def test_what_a_heartbeat_logs_names_its_video(world: World, settings: Settings) -> None:
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER)
    lines = list[str]()

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(_JsonLines().format(record))

    kept = Lines()
    logging.getLogger("worker.lease").addHandler(kept)
    nowhere = replace(settings, database_url=Secret("postgresql+psycopg://a:b@127.0.0.1:1/c"))
    process = Process(nowhere, (RENDER,))
    with bound(video=lease.video_id.hex), Pulse(process, lease):
        eventually(lambda: lines, 20)
    logging.getLogger("worker.lease").removeHandler(kept)
    process.database.close()
    assert json.loads(lines[0])["video"] == lease.video_id.hex
