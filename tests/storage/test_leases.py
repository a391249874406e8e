from __future__ import annotations

import time

import sqlalchemy as sa

from domain.lifecycle import RUNS, Stage, State
from domain.retries import MAX_CRASHES, MAX_FAILURES
from storage import leases, videos
from storage.tables import ledger, outputs, webhook_messages
from storage.tables import videos as table
from tests.fixtures.videos import World


def reap(world: World) -> list[State]:
    with world.database.transaction_for_any_tenant() as connection:
        return [each.after for each in leases.reap_for_any_tenant(connection, 100)]


def test_a_renewed_lease_is_not_reaped(world: World) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.05)
    with world.database.transaction(tenant) as connection:
        assert leases.renew(connection, lease, 30.0, 40, {"phase": "denoise", "done": 4, "total": 8})
    time.sleep(0.1)
    assert reap(world) == []


def test_progress_never_goes_back(world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    with world.database.transaction(tenant) as connection:
        for percent in (40, 20):
            leases.renew(connection, lease, 30.0, percent, None)
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    assert video.progress == 40


def test_a_dead_workers_video_is_claimed_again_and_its_finish_is_rejected(world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    zombie = world.must_claim(Stage.RENDER, "zombie", lease_seconds=0.01)
    time.sleep(0.05)
    assert reap(world) == [State.QUEUED]
    second = world.must_claim(Stage.RENDER, "second")
    assert second.fence > zombie.fence
    assert not world.move(zombie, State.RENDERED)
    with world.database.transaction(tenant) as connection:
        assert not leases.renew(connection, zombie, 30.0, 99, None)
        assert not leases.holds(connection, zombie)
    assert world.state(tenant, video_id) is State.RENDERING
    assert world.move(second, State.RENDERED)


def test_a_video_that_kills_its_workers_is_given_up(world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    ends = []
    for crash in range(MAX_CRASHES):
        if crash == MAX_CRASHES - 1:
            assert world.claim(Stage.RENDER) is None, "a video that met two deaths steps aside for a while"
            with world.database.transaction(tenant) as connection:
                connection.execute(sa.update(table).values(run_at=sa.text("clock_timestamp()")))
        world.must_claim(Stage.RENDER, lease_seconds=0.01)
        time.sleep(0.03)
        ends += reap(world)
    assert ends == [State.QUEUED] * (MAX_CRASHES - 1) + [State.FAILED]
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    assert video.error_code == "poison"


def test_orderly_failures_are_retried_later_and_then_end(world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    for number in range(1, MAX_FAILURES + 1):
        lease = world.must_claim(Stage.RENDER)
        with world.database.transaction(tenant) as connection:
            after = leases.fail(connection, lease, "no luck", "render_failed")
        assert after is (State.QUEUED if number < MAX_FAILURES else State.FAILED)
        assert world.claim(Stage.RENDER) is None, "a failed video waits before it is tried again"
        with world.database.transaction(tenant) as connection:
            connection.execute(sa.update(table).values(run_at=sa.text("clock_timestamp()")))
    assert world.state(tenant, video_id) is State.FAILED


def test_a_screening_that_never_decides_ends_with_a_person(world: World) -> None:
    tenant = world.tenant()
    world.create(tenant)
    after = None
    for _ in range(MAX_FAILURES):
        lease = world.must_claim(Stage.SCREEN)
        with world.database.transaction(tenant) as connection:
            after = leases.fail(connection, lease, "no answer", "screen_failed", State.HELD)
            connection.execute(sa.update(table).values(run_at=sa.text("clock_timestamp()")))
    assert after is State.HELD


def test_a_video_handed_back_counts_no_failure(world: World) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    for _ in range(MAX_FAILURES + 1):
        lease = world.must_claim(Stage.RENDER)
        with world.database.transaction(tenant) as connection:
            assert leases.hand_back(connection, lease) is State.QUEUED


def test_every_end_settles_the_ledger_and_sends_one_message(world: World) -> None:
    tenant = world.tenant()
    finished, failed = world.create(tenant), world.create(tenant)
    for stage in (Stage.SCREEN, Stage.SCREEN, Stage.RENDER):
        world.advance(stage)
    world.advance(Stage.PUBLISH)
    lease = world.must_claim(Stage.RENDER)
    assert world.move(lease, State.FAILED, error_code="render_failed", error_message="no")
    with world.database.transaction(tenant) as connection:
        sums = dict(
            connection.execute(
                sa.select(ledger.c.video_id, sa.func.sum(ledger.c.micros)).group_by(ledger.c.video_id)
            ).all()
        )
        messages = dict(connection.execute(sa.select(webhook_messages.c.video_id, webhook_messages.c.type)).all())
        assert connection.scalar(sa.select(sa.func.count()).select_from(outputs)) == 0
    assert sums == {finished: 10_000, failed: 0}
    assert messages == {finished: "video.completed", failed: "video.failed"}


def test_every_move_is_an_event_without_gaps(world: World) -> None:
    tenant = world.tenant()
    video_id = world.create(tenant)
    for stage in Stage:
        world.advance(stage)
    with world.database.transaction(tenant) as connection:
        history = videos.history(connection, tenant, video_id)
    assert [event["seq"] for event in history] == list(range(1, 8))
    assert [event["type"] for event in history][:3] == ["received", RUNS[Stage.SCREEN].running, "queued"]
