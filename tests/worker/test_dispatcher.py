from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from domain.errors import NotFound
from domain.ids import new_id
from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import idempotency, leases, outputs, videos, workers
from storage.database import Database
from storage.hints import REST_SECONDS, Bell, Ringer, broker
from storage.objects import ObjectStore
from storage.tables import idempotency_keys, objects, submissions, webhook_messages
from storage.tables import videos as table
from storage.tables import workers as worker_rows
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.workers import dispatching, eventually
from worker.dispatcher import Dispatcher

RENDER = QUEUES[Stage.RENDER]


@pytest.fixture
def dispatcher(settings: Settings) -> Iterator[Dispatcher]:
    made = Dispatcher(settings)
    made._no_reaping_before = 0.0  # as after the first seconds of its life
    yield made
    made._database.close()


@pytest.fixture
def bell(settings: Settings) -> Bell:
    return Bell(broker(settings.redis_url))


def present(database: Database, queue: str, name: str = "w") -> None:
    with database.transaction_for_any_tenant() as connection:
        workers.beat_for_any_tenant(connection, workers.Worker(name, (queue,), "here", 1), "idle")


def test_a_dead_workers_video_is_taken_back_and_its_queue_rung(
    dispatcher: Dispatcher, world: World, bell: Bell
) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    world.must_claim(Stage.RENDER, lease_seconds=0.01)
    time.sleep(0.05)
    dispatcher.reap()
    assert world.state(tenant, video_id) is State.QUEUED
    assert bell.length(RENDER) == 1


def test_no_lease_is_reaped_right_after_the_database_was_away(dispatcher: Dispatcher, world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    world.must_claim(Stage.RENDER, lease_seconds=0.01)
    time.sleep(0.05)
    dispatcher._no_reaping_before = time.monotonic() + 60
    dispatcher.reap()
    assert world.state(tenant, video_id) is State.RENDERING


REFUSING = (
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = '{}'; END $$",
    "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON workers EXECUTE FUNCTION refuse()",
)


@pytest.mark.parametrize("state", ["53100", "57014"], ids=["disk full", "statement time-out"])
def test_no_lease_is_reaped_right_after_nobody_could_write(
    settings: Settings, world: World, owner_url: str, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A disk that stalls or is full answers reads, and says "no" instead of nothing: no worker could renew."""
    monkeypatch.setattr("worker.dispatcher.AFTER_OUTAGE_SECONDS", 1.0)
    tenant = world.tenant()
    video_id = world.queued(tenant)
    owner = sa.create_engine(owner_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    quick = replace(settings, reap_seconds=0.05, lease_seconds=0.4, beat_seconds=0.2, hint_seconds=0.05)
    with owner.connect() as connection:
        for statement in REFUSING:
            connection.exec_driver_sql(statement.format(state))
        with dispatching(quick):
            time.sleep(0.6)  # its first seconds, in which it reaps nothing, are over
            lease = world.must_claim(Stage.RENDER, lease_seconds=0.01)
            time.sleep(0.3)
            assert world.state(tenant, video_id) is State.RENDERING, "nobody reaps while nobody can write"
            connection.exec_driver_sql("DROP TRIGGER refuse ON workers")
            time.sleep(0.5)
            with world.database.transaction(tenant) as renewing:
                assert leases.renew(renewing, lease, 0.01, 1, None), "it had time to renew"
            eventually(lambda: world.state(tenant, video_id) is State.QUEUED, 10)
    owner.dispose()


def test_a_dispatcher_that_starts_reaps_nothing_before_workers_could_renew(settings: Settings, world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.01)
    fresh = Dispatcher(replace(settings, lease_seconds=1.0))
    time.sleep(0.1)
    fresh.reap()
    assert world.state(tenant, video_id) is State.RENDERING, "it cannot know whether there was an outage just now"
    with world.database.transaction(tenant) as connection:
        assert leases.renew(connection, lease, 0.01, 1, None), "a worker that lives renews an overdue lease"
    time.sleep(1.1)
    fresh.reap()
    assert world.state(tenant, video_id) is State.QUEUED
    fresh._database.close()


def test_idle_workers_are_rung_once_each_and_no_more(dispatcher: Dispatcher, world: World, bell: Bell) -> None:
    tenant = world.tenant()
    for _ in range(5):
        world.queued(tenant)
    present(world.database, RENDER, "a")
    present(world.database, RENDER, "b")
    dispatcher.top_up_hints()
    dispatcher.top_up_hints()
    assert bell.length(RENDER) == 2


def test_a_lost_hint_is_replaced(dispatcher: Dispatcher, world: World, bell: Bell, redis_url: str) -> None:
    import redis  # noqa: PLC0415 - only here

    world.queued(world.tenant())
    present(world.database, RENDER)
    dispatcher.top_up_hints()
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    dispatcher.top_up_hints()
    assert bell.length(RENDER) == 1


def test_a_video_that_waited_too_long_expires(dispatcher: Dispatcher, world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).values(queue_deadline=sa.text("clock_timestamp() - interval '1 second'")))
    dispatcher.expire()
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    assert (video.state, video.error_code) == (State.EXPIRED, "queue_timeout")


def test_a_running_video_is_not_expired(dispatcher: Dispatcher, world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    world.must_claim(Stage.RENDER)
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).values(queue_deadline=sa.text("clock_timestamp() - interval '1 second'")))
    dispatcher.expire()
    assert world.state(tenant, video_id) is State.RENDERING


def test_an_expired_result_takes_its_objects_along(
    dispatcher: Dispatcher, world: World, object_store: ObjectStore
) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    key = outputs.key(lease, outputs.Kind.VIDEO)
    with world.database.transaction(tenant) as connection:
        assert outputs.register(connection, lease, "output", [key])
    object_store.put(key, b"frames", "video/mp4")
    assert world.move(lease, State.RENDERED)
    world.advance(Stage.PUBLISH)
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).values(expires_at=sa.text("clock_timestamp() - interval '1 second'")))
    dispatcher.expire()
    dispatcher._settings = replace(dispatcher._settings, sweep_grace_seconds=0.0, sweep_keep_seconds=0.2)
    dispatcher.sweep()
    with pytest.raises(NotFound):
        object_store.read(key)
    object_store.put(key, b"late frames", "video/mp4")  # of a process that was frozen, or of a store that was slow
    dispatcher.sweep()
    assert object_store.read(key) == b"late frames", "the time of the second delete has not come"
    time.sleep(0.3)
    dispatcher.sweep()
    with world.database.transaction(tenant) as connection:
        assert videos.find(connection, tenant, video_id) is None
        assert connection.scalar(sa.select(sa.func.count()).select_from(objects)) == 0
    with pytest.raises(NotFound):
        object_store.read(key)


def test_a_crowd_that_ends_together_is_forgotten_without_waiting_for_the_next_turn(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.dispatcher.BATCH", 2)
    tenant = world.tenant()
    for _ in range(5):
        world.create(tenant)
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).values(expires_at=sa.func.now()))
    dispatcher = Dispatcher(replace(settings, reap_seconds=600.0))
    stop = threading.Event()
    loop = threading.Thread(target=dispatcher.run, args=(stop,))
    loop.start()
    deadline = time.monotonic() + 20
    left = 5
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        with world.database.transaction(tenant) as connection:
            left = connection.scalar(sa.select(sa.func.count()).where(table.c.deleted_at.is_(None)))
    stop.set()
    loop.join(5)
    dispatcher._database.close()
    assert left == 0


def test_what_was_remembered_of_creates_is_dropped_in_time(dispatcher: Dispatcher, world: World) -> None:
    tenant = world.tenant()
    request = idempotency.Counted(new_id(), b"1", 0, timedelta())
    with world.database.transaction(tenant) as connection:
        idempotency.remember(connection, tenant, request, "video_1")
        idempotency.remember_key(connection, tenant, "k", idempotency.Named(b"1", "video_1"))
    for age, left in (("0 days", (1, 1)), ("11 minutes", (1, 0)), ("25 hours", (0, 0))):
        with world.database.transaction(tenant) as connection:
            connection.execute(sa.text(f"UPDATE submissions SET created_at = created_at - interval '{age}'"))  # noqa: S608 - our own text
            connection.execute(sa.text(f"UPDATE idempotency_keys SET expires_at = expires_at - interval '{age}'"))  # noqa: S608 - our own text
        dispatcher.forget_requests()
        with world.database.transaction(tenant) as connection:
            found = (idempotency_keys, submissions)
            counts = tuple(connection.scalar(sa.select(sa.func.count()).select_from(each)) for each in found)
        assert counts == left, age


def test_positions_come_from_a_snapshot_of_the_queue(dispatcher: Dispatcher, world: World) -> None:
    tenant = world.tenant()
    for _ in range(3):
        world.queued(tenant)
    present(world.database, RENDER)
    dispatcher.take_snapshots()
    with world.database.transaction_for_any_tenant() as connection:
        seen = workers.read_snapshot_for_any_tenant(connection, RENDER)
    assert seen is not None
    assert (seen.backlog, seen.slots) == ({tenant.hex: 3}, 1)


def test_workers_that_fell_silent_are_forgotten(dispatcher: Dispatcher, world: World) -> None:
    present(world.database, RENDER)
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.update(worker_rows).values(beat_at=sa.text("clock_timestamp() - interval '1 hour'")))
    dispatcher.reap()
    with world.database.transaction_for_any_tenant() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(worker_rows)) == 0


def test_the_loop_does_every_duty_and_stops_when_told(dispatcher: Dispatcher, world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    world.must_claim(Stage.RENDER, lease_seconds=0.01)
    time.sleep(0.05)
    stop = threading.Event()
    loop = threading.Thread(target=dispatcher.run, args=(stop,))
    loop.start()
    time.sleep(0.5)
    stop.set()
    loop.join(5)
    assert not loop.is_alive()
    assert world.state(tenant, video_id) is State.QUEUED


def test_ringing_never_fails_and_never_blocks_the_caller() -> None:
    ringer = Ringer(Bell(broker("redis://127.0.0.1:9/0")))
    begun = time.monotonic()
    for _ in range(100):
        ringer.want("screen")
    assert time.monotonic() - begun < 0.1
    assert Bell(broker("redis://127.0.0.1:9/0")).ring("screen") is False
    assert Bell(broker("redis://127.0.0.1:9/0")).length("screen") is None
    ringer.stop()


def test_many_wishes_become_few_hints_and_the_last_is_heard(bell: Bell) -> None:
    ringer = Ringer(bell)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.5:
        ringer.want("screen")
    ringer.want("publish")
    time.sleep(0.2)
    ringer.stop()
    assert 1 <= (bell.length("screen") or 0) <= 0.7 / REST_SECONDS + 1
    assert bell.length("publish") == 1


def test_webhook_messages_older_than_their_log_are_dropped(dispatcher: Dispatcher, world: World) -> None:
    tenant = world.tenant()
    old, new = (new_id(int((time.time() - days * 86_400) * 1e9)) for days in (31, 29))
    with world.database.transaction(tenant) as connection:
        for message in (old, new):
            values = {"id": message, "tenant_id": tenant, "type": "batch.failed", "body": b"{}"}
            connection.execute(sa.insert(webhook_messages).values(values))
    dispatcher.forget_deliveries()
    with world.database.transaction(tenant) as connection:
        assert connection.scalars(sa.select(webhook_messages.c.id)).all() == [new]
