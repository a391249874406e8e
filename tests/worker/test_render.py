from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from engines.protocol import Interrupted
from runtime.settings import Secret
from storage import leases, outputs, videos
from storage.hints import Bell, broker
from storage.tables import attempts, objects
from tests.fixtures.videos import QUEUES, World
from worker.lease import Pulse
from worker.outcome import Done, Failed, Outcome, Released, Retry
from worker.pipeline import work
from worker.pipeline.work import run
from worker.process import Process


def slow(process: Process, step_seconds: float) -> None:
    process.engines._testcard_step_seconds = step_seconds


def test_a_rendered_video_has_its_drafts_in_a_private_prefix(process: Process, world: World, tmp_path: Path) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    assert run(process, lease) is State.RENDERED
    drafts = outputs.drafts_of(lease, lease.fence)
    process.store.fetch(drafts[outputs.Kind.VIDEO], tmp_path / "draft.mp4")
    with av.open(str(tmp_path / "draft.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height, stream.frames) == ("h264", 256, 144, 12)
    with world.database.transaction(tenant) as connection:
        assert outputs.find(connection, tenant, video_id) == {}, "drafts are not results"
        rendering = videos.rendering(connection, tenant, video_id)
        assert set(connection.scalars(sa.select(objects.c.key))) == set(drafts.values())
    assert rendering is not None
    assert rendering.fence == lease.fence


def test_the_same_seed_renders_the_same_bytes_again(process: Process, world: World) -> None:
    tenant = world.tenant()
    drafts = []
    for _ in range(2):
        world.queued(tenant)
        lease = world.must_claim(Stage.RENDER)
        run(process, lease)
        drafts.append(process.store.read(outputs.drafts_of(lease, lease.fence)[outputs.Kind.VIDEO]))
    assert drafts[0] == drafts[1]


def test_a_cancel_stops_the_render_and_leaves_nothing_behind(process: Process, world: World, tmp_path: Path) -> None:
    slow(process, 0.05)
    tenant = world.tenant()
    world.queued(tenant, seconds=4)
    lease = world.must_claim(Stage.RENDER)
    ended: list[State | None] = []
    render = threading.Thread(target=lambda: ended.append(run(process, lease)))
    render.start()
    time.sleep(0.2)
    assert world.move(lease, State.CANCELLED, error_code="cancelled", error_message="-", outcome="cancelled")
    begun = time.monotonic()
    render.join(5)
    assert ended == [None]
    assert time.monotonic() - begun < 1.0
    assert list(tmp_path.glob("kinema-work-*")) == []


def test_a_worker_that_leaves_hands_a_long_render_back(process: Process, world: World) -> None:
    slow(process, 0.3)
    tenant = world.tenant()
    video_id = world.queued(tenant, seconds=4)
    lease = world.must_claim(Stage.RENDER)
    process.draining.set()
    assert run(process, lease) is State.QUEUED
    assert world.state(tenant, video_id) is State.QUEUED
    with world.database.transaction(tenant) as connection:
        outcome = sa.select(attempts.c.outcome).where(attempts.c.stage == "render")
        assert connection.scalars(outcome).all() == ["released"]


def test_a_worker_that_leaves_finishes_what_is_nearly_done(process: Process, world: World) -> None:
    process.settings = replace(process.settings, grace_seconds=20.0)
    world.queued(world.tenant())
    process.draining.set()
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED


def test_a_render_without_progress_loses_its_lease(process: Process, world: World) -> None:
    process.settings = replace(process.settings, stall_seconds=0.3, lease_seconds=0.5)
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.5)
    with Pulse(process, lease) as pulse:
        pulse.advance("denoise", 0, 8)
        time.sleep(1.2)
        with world.database.transaction(tenant) as connection:
            late = connection.scalar(sa.text("SELECT lease_until < clock_timestamp() FROM videos"))
    assert late


@pytest.mark.parametrize(("stall_seconds", "kept"), [(0.2, True), (0.05, False)])
def test_loading_a_model_may_take_ten_times_as_long_as_a_step(
    process: Process, world: World, *, stall_seconds: float, kept: bool
) -> None:
    process.settings = replace(process.settings, stall_seconds=stall_seconds, lease_seconds=0.5)
    tenant = world.tenant()
    world.queued(tenant)
    with Pulse(process, world.must_claim(Stage.RENDER, lease_seconds=0.5)):
        time.sleep(1.3)
        with world.database.transaction(tenant) as connection:
            assert connection.scalar(sa.text("SELECT lease_until > clock_timestamp() FROM videos")) is kept


def test_screening_loads_no_model_and_has_the_time_of_a_step(process: Process, world: World) -> None:
    process.settings = replace(process.settings, stall_seconds=0.2, lease_seconds=0.5)
    tenant = world.tenant()
    world.create(tenant)
    with Pulse(process, world.must_claim(Stage.SCREEN, lease_seconds=0.5)):
        time.sleep(1.3)
        with world.database.transaction(tenant) as connection:
            assert connection.scalar(sa.text("SELECT lease_until < clock_timestamp() FROM videos"))


@pytest.mark.parametrize(
    ("outcome", "noted"),
    [
        (Released(5.0), "stopped"),
        (Retry("store_away", "render_failed"), "stopped"),
        (Failed("render_failed"), "rejected"),
        (Done(State.RENDERED), "rejected"),
    ],
)
def test_only_a_result_that_came_too_late_counts_as_rejected(
    process: Process, world: World, caplog: pytest.LogCaptureFixture, outcome: Outcome, noted: str
) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.01)
    time.sleep(0.05)
    with world.database.transaction_for_any_tenant() as connection:
        assert len(leases.reap_for_any_tenant(connection, 10)) == 1
    assert work._settle(process, lease, outcome) is None
    with world.database.transaction(tenant) as connection:
        ended = connection.scalars(sa.select(attempts.c.outcome).where(attempts.c.fence == lease.fence)).all()
    assert ended == [noted]
    assert ("after its lease had run out" in caplog.text) is (noted == "rejected")


def test_the_heartbeat_outlives_what_nobody_planned(process: Process, world: World, owner_url: str) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    engine = sa.create_engine(owner_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with Pulse(process, world.must_claim(Stage.RENDER, lease_seconds=0.5)) as pulse, engine.connect() as owner:
        owner.execute(sa.text("ALTER TABLE videos RENAME TO elsewhere"))
        time.sleep(0.6)
        owner.execute(sa.text("ALTER TABLE elsewhere RENAME TO videos"))
        time.sleep(0.6)
        with world.database.transaction(tenant) as connection:
            assert connection.scalar(sa.text("SELECT lease_until > clock_timestamp() FROM videos"))
        assert not pulse.lost


def test_a_broker_that_hangs_delays_no_video(process: Process, world: World) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        process.settings = replace(process.settings, redis_url=Secret(url))
        tenant = world.tenant()
        for _ in range(2):
            world.queued(tenant)
        begun = time.monotonic()
        lease = work._claim(process, Stage.RENDER, QUEUES[Stage.RENDER])
        assert lease is not None
        assert time.monotonic() - begun < 0.5
        assert work.run(process, lease) is State.RENDERED
        with world.database.transaction(tenant) as connection:
            took = "SELECT extract(epoch FROM clock_timestamp() - started_at) FROM attempts WHERE stage = 'render'"
            assert connection.scalar(sa.text(took)) < 5
        begun = time.monotonic()
        assert Bell(broker(url)).ring("screen") is False
        assert time.monotonic() - begun < 2


def test_a_moving_render_keeps_its_lease_beyond_its_length(process: Process, world: World) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.5)
    with Pulse(process, lease) as pulse:
        for step in range(12):
            pulse.advance("denoise", step, 12)
            time.sleep(0.1)
        with world.database.transaction(tenant) as connection:
            assert connection.scalar(sa.text("SELECT lease_until > clock_timestamp() FROM videos"))


def test_a_lost_lease_interrupts_the_next_step(process: Process, world: World) -> None:
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER)
    with Pulse(process, lease) as pulse:
        assert world.move(lease, State.FAILED, error_code="render_failed", error_message="-")
        time.sleep(0.3)
        with pytest.raises(Interrupted):
            pulse.advance("denoise", 1, 8)
