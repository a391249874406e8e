"""A store that takes nothing for a while: full, without rights, or overburdened. Reads and deletes go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from domain.retries import MAX_FAILURES
from storage import outputs, videos
from storage.objects import ObjectStore
from storage.tables import attempts
from storage.tables import videos as table
from tests.chaos.report import UNBALANCED
from tests.fixtures.refusing import REFUSALS, Refusing, refusing
from tests.fixtures.videos import World
from worker.dispatcher import Dispatcher
from worker.pipeline.work import run
from worker.process import Process

REFUSED_SECONDS = 1.5


@pytest.fixture
def way(process: Process) -> Iterator[Refusing]:
    """The worker's way to the store, closed for writes when the test says so."""
    with refusing(process.settings.s3_endpoint_url) as made:
        process.settings = replace(process.settings, s3_endpoint_url=made.url)
        yield made


def due_now(world: World, tenant: UUID) -> None:
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).values(run_at=sa.func.clock_timestamp()))


def outcomes(world: World, tenant: UUID, video_id: UUID) -> list[str | None]:
    mine = sa.select(attempts.c.outcome).where(attempts.c.video_id == video_id, attempts.c.stage != Stage.SCREEN)
    with world.database.transaction(tenant) as connection:
        return list(connection.scalars(mine.order_by(attempts.c.fence)))


def stored(store: ObjectStore, tenant: UUID, kind: str) -> list[str]:
    return [key for page in store.pages(f"{kind}/{tenant.hex}/") for key in page]


@pytest.mark.slow
@pytest.mark.parametrize("status", REFUSALS)
def test_what_cannot_be_stored_is_tried_again_then_fails_clearly_and_leaves_nothing(
    process: Process, world: World, way: Refusing, object_store: ObjectStore, *, status: int
) -> None:
    process.settings = replace(process.settings, patience_seconds=0.1)
    tenant = world.tenant()
    ended = {}
    for stage in (Stage.RENDER, Stage.PUBLISH):
        video_id = world.queued(tenant)
        if stage is Stage.PUBLISH:
            assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
        way.status = status
        for _ in range(MAX_FAILURES):
            run(process, world.must_claim(stage))
            due_now(world, tenant)
        way.status = 0
        with world.database.transaction(tenant) as connection:
            video = videos.find(connection, tenant, video_id)
            assert outputs.find(connection, tenant, video_id) == {}
        assert video is not None
        assert (video.state, video.error_code) == (State.FAILED, f"{stage}_failed")
        ended[stage] = outcomes(world, tenant, video_id)
    assert ended[Stage.RENDER] == ["store_away"] * MAX_FAILURES
    assert ended[Stage.PUBLISH] == ["done", *["store_away"] * MAX_FAILURES]
    assert way.refused >= 2 * MAX_FAILURES

    fresh = world.queued(tenant)
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
    assert run(process, world.must_claim(Stage.PUBLISH)) is State.COMPLETED, "as soon as it takes writes again"
    dispatcher = Dispatcher(replace(process.settings, sweep_grace_seconds=0.0, sweep_keep_seconds=0.0))
    dispatcher.sweep()
    dispatcher._database.close()
    assert stored(object_store, tenant, "drafts") == []
    assert {key.split("/")[2] for key in stored(object_store, tenant, "outputs")} == {fresh.hex}
    with world.database.transaction_for_any_tenant() as connection:
        assert connection.scalar(sa.text(UNBALANCED)) == 0, "failed ones are not paid for"


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_that_ends_in_time_costs_nothing(process: Process, world: World, way: Refusing, status: int) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    for stage, after in ((Stage.RENDER, State.RENDERED), (Stage.PUBLISH, State.COMPLETED)):
        way.status = status
        opens = threading.Timer(REFUSED_SECONDS, setattr, (way, "status", 0))
        opens.start()
        assert run(process, world.must_claim(stage)) is after
        opens.join()
    assert way.refused >= 2
    assert outcomes(world, tenant, video_id) == ["done", "done"]
