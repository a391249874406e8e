"""A worker that hears nothing although it could work ends; every other one stays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage
from runtime.settings import Settings
from tests.fixtures.videos import QUEUES, World
from worker import deafness
from worker.deafness import Ears, leaving_seconds
from worker.presence import Presence
from worker.process import Process
from worker.warden import HANDING_BACK_SECONDS, LEAVING_SECONDS

PATIENCE = 0.6


@contextmanager
def ears(settings: Settings, *queues: str) -> Iterator[tuple[Ears, Presence, threading.Event]]:
    """A worker of these queues, and whether it left."""
    process = Process(replace(settings, deaf_seconds=PATIENCE), queues)
    presence, left = Presence(process), threading.Event()
    try:
        yield Ears(process, presence, left.set), presence, left
    finally:
        process.draining.set()
        presence.stop()
        for thread in threading.enumerate():
            if thread.name == "ears":
                thread.join(5)
        process.database.close()


def test_work_that_waits_unheard_ends_the_worker(settings: Settings, world: World) -> None:
    world.queued(world.tenant())
    with ears(settings, QUEUES[Stage.RENDER]) as (_, _, left):
        assert left.wait(5)


@pytest.mark.parametrize("why", ["nothing waits", "another queue's work waits", "the tenant is at its cap"])
def test_a_worker_with_nothing_to_take_stays(settings: Settings, world: World, why: str) -> None:
    tenant = world.tenant(render_cap=0)
    if why == "another queue's work waits":
        world.create(tenant)
    if why == "the tenant is at its cap":
        world.queued(tenant)
    with ears(settings, QUEUES[Stage.RENDER]) as (_, _, left):
        assert not left.wait(PATIENCE * 3)


def test_a_worker_that_hears_stays(settings: Settings, world: World) -> None:
    world.queued(world.tenant())
    with ears(settings, QUEUES[Stage.RENDER]) as (heard, _, left):
        for _ in range(12):
            heard.heard()
            assert not left.wait(PATIENCE / 4)


def test_a_busy_worker_needs_no_hint(settings: Settings, world: World) -> None:
    video_id = world.queued(world.tenant())
    with ears(settings, QUEUES[Stage.RENDER]) as (_, presence, left), presence.busy(video_id):
        assert not left.wait(PATIENCE * 3)


def test_looking_takes_nothing(settings: Settings, world: World) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    with ears(settings, QUEUES[Stage.RENDER]) as (_, _, left):
        assert left.wait(5)
    lease = world.must_claim(Stage.RENDER)
    assert lease.fence == 2, "one screening, one rendering; what was tried is undone"


def test_what_nobody_planned_ends_no_ears(settings: Settings, world: World, owner_url: str) -> None:
    world.queued(world.tenant())
    engine = sa.create_engine(owner_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as owner:
        owner.execute(sa.text("ALTER TABLE videos RENAME TO elsewhere"))
        with ears(settings, QUEUES[Stage.RENDER]) as (_, _, left):
            assert not left.wait(PATIENCE * 2)
            owner.execute(sa.text("ALTER TABLE elsewhere RENAME TO videos"))
            assert left.wait(5)


def test_a_listener_has_the_time_that_its_warden_takes() -> None:
    grace = Settings().grace_seconds
    assert leaving_seconds(grace) > grace + LEAVING_SECONDS + HANDING_BACK_SECONDS


def test_the_listener_ends_with_its_child(tmp_path: Path) -> None:
    """As in a deaf worker: the listening process ignores the polite signal, and its child ends both."""
    script = tmp_path / "listener.py"
    script.write_text(
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "code = 'from worker import deafness; deafness.end_listener(%d, 0.3)'\n"
        "subprocess.Popen([sys.executable, '-c', code % os.getpid()])\n"
        "time.sleep(60)\n"
    )
    root = Path(deafness.__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=root, check=False, timeout=30, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert ran.returncode == -9
