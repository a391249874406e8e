"""A far end draws for a worker: leases, ends and errors are those of any other render."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import leases, videos
from storage.tables import attempts
from tests.engines.upstream.far_end import FarEnd, far_end
from tests.fixtures.videos import QUEUES, World
from worker.pipeline.work import run
from worker.process import Process

# What models.toml calls test card is drawn elsewhere here.
MODELS = """
[[model]]
name = "testcard"
engine = "upstream"
path = "{url}"
pool = "small"
aliases = []
seconds = [1]
fps = 12
rendered_fps = 12
steps = [1, 8, 10]
guidance = 1.0
capabilities = ["text"]
price_micros = 1
cost_ms = 1
sizes = {{ "256x144" = "256x144" }}
options = {{ dialect = "{dialect}", patience_seconds = 0.5 }}
"""
STUCK = (200, {}, {"id": "video_1", "status": "in_progress", "progress": 40})


@pytest.fixture
def server() -> Iterator[FarEnd]:
    with far_end("vllm-omni") as running:
        yield running


@pytest.fixture
def process(settings: Settings, server: FarEnd, tmp_path: Path) -> Iterator[Process]:
    models = tmp_path / "models.toml"
    models.write_text(MODELS.format(url=server.url, dialect=server.dialect))
    settings = replace(settings, models_file=str(models), stall_seconds=0.6, lease_seconds=0.8)
    made = Process(settings, (QUEUES[Stage.RENDER],))
    yield made
    made.ringer.stop()
    made.database.close()


def error_of(world: World, tenant: UUID, video_id: UUID) -> str | None:
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    return video.error_code


def outcomes(world: World, tenant: UUID) -> list[str]:
    with world.database.transaction(tenant) as connection:
        return list(connection.scalars(sa.select(attempts.c.outcome).where(attempts.c.stage == "render")))


def test_a_far_end_that_shows_no_percentage_keeps_its_lease(process: Process, world: World, server: FarEnd) -> None:
    server.seconds = 2.5
    tenant = world.tenant()
    video_id = world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.8)
    assert run(process, lease) is State.RENDERED
    (asked,) = server.of("POST")
    assert asked.headers["idempotency-key"] == f"{video_id.hex}-{lease.fence}"
    assert server.jobs == {}


def test_a_percentage_that_stands_still_costs_the_lease(process: Process, world: World, server: FarEnd) -> None:
    server.seconds = 60
    server.wrong.look = [STUCK] * 100
    tenant = world.tenant()
    video_id = world.queued(tenant)
    lease = world.must_claim(Stage.RENDER, lease_seconds=0.8)
    ended: list[State | None] = []
    render = threading.Thread(target=lambda: ended.append(run(process, lease)))
    render.start()
    begun = time.monotonic()
    while world.state(tenant, video_id) is State.RENDERING:
        assert time.monotonic() - begun < 20
        with world.database.transaction_for_any_tenant() as connection:
            leases.reap_for_any_tenant(connection, 10)
        time.sleep(0.1)
    render.join(10)
    assert ended == [None]
    assert world.state(tenant, video_id) is State.QUEUED
    assert server.jobs == {}, "and the far end is told to stop"


def test_a_cancel_stops_the_far_end(process: Process, world: World, server: FarEnd) -> None:
    server.seconds = 60
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER)
    ended: list[State | None] = []
    render = threading.Thread(target=lambda: ended.append(run(process, lease)))
    render.start()
    begun = time.monotonic()
    while not server.of("GET"):
        assert time.monotonic() - begun < 20
        time.sleep(0.05)
    assert world.move(lease, State.CANCELLED, error_code="cancelled", error_message="-", outcome="cancelled")
    cancelled = time.monotonic()
    render.join(10)
    assert ended == [None]
    (job,) = server.made
    assert job.aborted is not None
    print(f"the far end was told {job.aborted - cancelled:.2f} s after the cancel")
    assert job.aborted - cancelled < 1.5


def test_a_refusal_ends_the_video_with_a_code_of_its_own(process: Process, world: World, server: FarEnd) -> None:
    server.wrong.create = [(400, {}, {"error": {"message": "no such model"}})]
    tenant = world.tenant()
    video_id = world.queued(tenant)
    assert run(process, world.must_claim(Stage.RENDER)) is State.FAILED
    assert error_of(world, tenant, video_id) == "upstream_refused"


def test_a_far_end_that_is_away_is_tried_again(process: Process, world: World, server: FarEnd) -> None:
    server.wrong.create = [(503, {}, {})] * 20
    tenant = world.tenant()
    world.queued(tenant)
    assert run(process, world.must_claim(Stage.RENDER)) is State.QUEUED
    assert outcomes(world, tenant) == ["FarEndAway"]
