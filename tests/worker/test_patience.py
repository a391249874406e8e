from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from domain.retries import MAX_FAILURES
from storage import outputs, videos
from storage.outputs import Kind
from storage.tables import attempts, objects
from storage.tables import videos as table
from tests.fixtures.videos import World
from tests.fixtures.wire import Wire, wire_to
from worker.lease import Pulse
from worker.patience import insist
from worker.pipeline.work import run
from worker.process import Process

LONGER_THAN_A_CALL = 5.0  # seconds; the store's client tries three times by itself


@pytest.fixture
def wire(process: Process) -> Iterator[Wire]:
    """The way to the object store."""
    at = urlsplit(process.settings.s3_endpoint_url)
    assert at.hostname
    assert at.port
    with wire_to(at.hostname, at.port) as made:
        process.settings = replace(process.settings, s3_endpoint_url=f"http://127.0.0.1:{made.port}")
        yield made


@contextmanager
def after(seconds: float, act: object) -> Iterator[None]:
    timer = threading.Timer(seconds, act)
    timer.start()
    yield
    timer.join()


@contextmanager
def locked(owner_url: str, statement: str, seconds: float) -> Iterator[None]:
    """Somebody holds a lock on the videos for a while, longer than our sessions wait for one."""
    engine = sa.create_engine(owner_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
        with after(seconds, connection.rollback):
            yield


def outcomes(world: World, tenant: UUID) -> list[tuple[str, str | None]]:
    with world.database.transaction(tenant) as connection:
        rows = connection.execute(sa.select(attempts.c.stage, attempts.c.outcome).order_by(attempts.c.fence))
        return [(row.stage, row.outcome) for row in rows if row.stage != "screen"]


def failures(world: World, tenant: UUID) -> int | None:
    with world.database.transaction(tenant) as connection:
        return connection.scalar(sa.select(table.c.failures))


def test_a_finished_render_outlives_the_absence_of_the_store(process: Process, world: World, wire: Wire) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    wire.cut()
    with after(LONGER_THAN_A_CALL, wire.mend):
        assert run(process, lease) is State.RENDERED
    assert process.store.read(outputs.drafts_of(lease, lease.fence)[Kind.VIDEO])
    assert outcomes(world, tenant) == [("render", "done")]


def test_publishing_outlives_the_absence_of_the_store(process: Process, world: World, wire: Wire) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
    lease = world.must_claim(Stage.PUBLISH)
    wire.cut()
    with after(LONGER_THAN_A_CALL, wire.mend):
        assert run(process, lease) is State.COMPLETED
    assert outcomes(world, tenant) == [("render", "done"), ("publish", "done")]


def test_waiting_for_the_store_is_no_standing_still(process: Process, world: World, wire: Wire) -> None:
    process.settings = replace(process.settings, stall_seconds=1.0)
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=2)
    held: list[bool | None] = []

    def look() -> None:
        with world.database.transaction(tenant) as connection:
            held.append(connection.scalar(sa.text("SELECT lease_until > clock_timestamp() FROM videos")))
        wire.mend()

    wire.cut()
    with after(6.0, look):
        assert run(process, lease) is State.RENDERED
    assert held == [True]


def test_a_cancel_ends_the_waiting(process: Process, world: World, wire: Wire) -> None:
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER)
    wire.cut()
    with after(1.5, lambda: world.move(lease, State.CANCELLED, error_code="cancelled", error_message="-")):
        begun = time.monotonic()
        assert run(process, lease) is None
    assert time.monotonic() - begun < 10


def test_a_worker_that_leaves_waits_for_no_longer_than_its_grace(process: Process, world: World, wire: Wire) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    wire.cut()
    process.draining.set()
    begun = time.monotonic()
    assert run(process, lease) is State.QUEUED
    assert time.monotonic() - begun < 10
    assert outcomes(world, tenant) == [("render", "released")]
    assert failures(world, tenant) == 0


def test_drafts_are_written_down_however_long_their_row_is_locked(
    process: Process, world: World, owner_url: str
) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    with locked(owner_url, "SELECT 1 FROM videos FOR UPDATE", 5.0):
        assert run(process, lease) is State.RENDERED
    assert outcomes(world, tenant) == [("render", "done")]


def test_an_outage_before_the_work_began_counts_against_nobody(process: Process, world: World, owner_url: str) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    with locked(owner_url, "LOCK TABLE videos IN ACCESS EXCLUSIVE MODE", 4.0):
        assert run(process, lease) is State.QUEUED
    assert outcomes(world, tenant) == [("render", "released")]
    assert failures(world, tenant) == 0
    with world.database.transaction(tenant) as connection:
        assert connection.scalar(sa.text("SELECT run_at > clock_timestamp() + interval '3 seconds' FROM videos"))


def test_keys_may_be_written_down_twice_by_the_same_attempt(world: World) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    for _ in range(2):
        with world.database.transaction(tenant) as connection:
            assert outputs.register(connection, lease, "draft", ["a", "b"])
    with world.database.transaction(tenant) as connection:
        assert sorted(connection.scalars(sa.select(objects.c.key))) == ["a", "b"]


def test_what_is_no_outage_is_raised_at_once(process: Process, world: World) -> None:
    world.queued(world.tenant())
    with Pulse(process, world.must_claim(Stage.RENDER)) as pulse, pytest.raises(ZeroDivisionError):
        insist(pulse, lambda: 1 // 0)


def test_a_store_that_is_away_for_ever_ends_the_video(process: Process, world: World, wire: Wire) -> None:
    process.settings = replace(process.settings, patience_seconds=0.0)
    tenant = world.tenant()
    video_id = world.queued(tenant)
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).values(failures=MAX_FAILURES - 2))
    wire.cut()
    for after in (State.QUEUED, State.FAILED):
        assert run(process, world.must_claim(Stage.RENDER)) is after
        with world.database.transaction(tenant) as connection:
            connection.execute(sa.update(table).values(run_at=sa.func.clock_timestamp()))
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    assert video.error_code == "render_failed"
    assert outcomes(world, tenant) == [("render", "store_away")] * 2
