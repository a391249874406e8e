"""A worker without room for its drafts: on a real file system that is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from domain.retries import MAX_FAILURES
from storage import outputs, videos
from storage.tables import objects
from storage.tables import videos as table
from tests.fixtures.videos import World
from worker.pipeline.work import run
from worker.process import Process


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A full disk, which takes a folder and not a byte."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(place)], check=False)  # noqa: S607 - the system's own
    if made.returncode != 0:
        pytest.skip("only root may mount a small file system")
    (place / "other").write_bytes(bytes(4096))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: S607 - the system's own


@pytest.mark.parametrize("stage", [Stage.RENDER, Stage.PUBLISH])
def test_a_full_disk_is_tried_again_then_fails_clearly_and_leaves_nothing(
    process: Process, world: World, small: Path, stage: Stage
) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    if stage is Stage.PUBLISH:
        assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
    roomy, process.settings = process.settings, replace(process.settings, work_dir=str(small))
    waiting = State.QUEUED if stage is Stage.RENDER else State.RENDERED
    for attempt in range(1, MAX_FAILURES + 1):
        after = run(process, world.must_claim(stage))
        assert after is (waiting if attempt < MAX_FAILURES else State.FAILED)
        assert [each.name for each in small.iterdir()] == ["other"], "the work folder is removed"
        with world.database.transaction(tenant) as connection:
            connection.execute(sa.update(table).values(run_at=sa.func.clock_timestamp()))
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
        assert outputs.find(connection, tenant, video_id) == {}
        kept = connection.scalar(sa.select(sa.func.count()).select_from(objects).where(objects.c.doomed_at.is_(None)))
        ended = [row["outcome"] for row in videos.runs(connection, tenant, video_id) if row["stage"] == stage]
    assert video is not None
    assert video.error_code == f"{stage}_failed"
    assert kept == 0
    assert ended == ["disk_full"] * MAX_FAILURES
    process.settings = roomy
    world.queued(tenant)
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED, "with room again, work goes on"


def test_a_disk_that_has_room_again_costs_one_more_try(process: Process, world: World, small: Path) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    roomy, process.settings = process.settings, replace(process.settings, work_dir=str(small))
    assert run(process, world.must_claim(Stage.RENDER)) is State.QUEUED
    process.settings = roomy
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).values(run_at=sa.func.clock_timestamp()))
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
