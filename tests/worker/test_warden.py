"""A child that does not do what it must is killed by its parent, and the worker goes on, or ends in time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa

from domain.administration import Actor
from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import interventions, leases, workers
from storage.database import Database
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.workers import ROOT, children, dispatching, eventually, rows, worker
from worker.process import name_of
from worker.warden import HANDING_BACK_SECONDS, Warden

pytestmark = pytest.mark.timeout(180)

AT_WORK = "SELECT video_id, worker FROM attempts WHERE stage = 'render' AND ended_at IS NULL"


def present(database: Database, name: str, lease: object) -> None:
    with database.transaction_for_any_tenant() as connection:
        who = workers.Worker(name, (QUEUES[Stage.RENDER],), "here", 1)
        workers.beat_for_any_tenant(connection, who, "busy", lease.video_id)


def overstaying(
    database: Database, name: str, seconds: float = 0.2, *, loading: float = 0.2, watched: float = 60.0
) -> bool:
    with database.transaction_for_any_tenant() as connection:
        return name in workers.overstaying_for_any_tenant(
            connection, [name, "another"], seconds, loading_seconds=loading, watched_seconds=watched
        )


def cancelled_at_work(world: World, stage: Stage = Stage.RENDER, *, steps: bool = False) -> None:
    """A worker that said which video it is at, which was cancelled 0.3 s ago."""
    tenant = world.tenant()
    if stage is Stage.SCREEN:
        world.create(tenant)
    else:
        world.queued(tenant)
    lease = world.must_claim(stage, "w")
    present(world.database, "w", lease)
    if steps:
        with world.database.transaction(tenant) as connection:
            assert leases.renew(connection, lease, 30, 10, {"phase": "denoise", "done": 1, "total": 4})
    assert world.move(lease, State.CANCELLED, error_code="cancelled", error_message="-", outcome="cancelled")
    time.sleep(0.3)


@pytest.mark.parametrize(
    ("stage", "steps", "overstays"),
    [(Stage.RENDER, False, False), (Stage.RENDER, True, True), (Stage.SCREEN, False, True)],
    ids=["a model may be loading", "it made steps", "screening loads no model"],
)
def test_a_render_without_a_step_may_stay_longer(world: World, stage: Stage, *, steps: bool, overstays: bool) -> None:
    cancelled_at_work(world, stage, steps=steps)
    assert overstaying(world.database, "w", loading=60.0) is overstays


def test_who_holds_another_video_is_at_work_whatever_it_said_last(world: World) -> None:
    """As after an outage, in which it could not say that it had gone on to the next one."""
    cancelled_at_work(world)
    assert overstaying(world.database, "w")
    world.queued(world.tenant("another"))
    lease = world.must_claim(Stage.RENDER, "w")
    assert not overstaying(world.database, "w")
    assert world.move(lease, State.RENDERED)
    assert overstaying(world.database, "w")


def test_what_an_earlier_process_of_the_same_name_said_counts_for_nothing(world: World, settings: Settings) -> None:
    """A container that is started again has its host name and its pids again."""
    with psutil.Popen(["sleep", "60"]) as child:
        world.queued(world.tenant())
        lease = world.must_claim(Stage.RENDER, name_of(child.pid))
        present(world.database, name_of(child.pid), lease)
        assert world.move(lease, State.CANCELLED, error_code="cancelled", error_message="-", outcome="cancelled")
        time.sleep(0.3)
        warden = Warden(replace(settings, overstay_seconds=0.01), lambda: [child.pid])
        time.sleep(0.1)
        assert warden.kill_overstaying() == []
        present(world.database, name_of(child.pid), lease)
        assert warden.kill_overstaying() == [child.pid]
        assert child.wait(5) == -signal.SIGKILL
        warden._database.close()


def test_only_who_stays_at_a_video_that_it_lost_long_ago_overstays(world: World) -> None:
    world.queued(world.tenant())
    lease = world.must_claim(Stage.RENDER, "w")
    present(world.database, "w", lease)
    assert not overstaying(world.database, "w"), "it is at work"
    assert world.move(lease, State.CANCELLED, error_code="cancelled", error_message="-", outcome="cancelled")
    assert not overstaying(world.database, "w"), "it may not have noticed yet"
    time.sleep(0.3)
    assert overstaying(world.database, "w")


def test_who_claims_the_same_video_again_does_not_overstay(world: World) -> None:
    world.queued(world.tenant())
    lost = world.must_claim(Stage.RENDER, "w")
    present(world.database, "w", lost)
    with world.database.transaction(lost.tenant_id) as connection:
        leases.hand_back(connection, lost)
    time.sleep(0.3)
    assert world.must_claim(Stage.RENDER, "w").video_id == lost.video_id
    assert not overstaying(world.database, "w")


def test_what_killed_children_held_waits_again_without_a_crash(world: World, settings: Settings) -> None:
    tenant = world.tenant()
    video_id, others = world.queued(tenant), world.queued(tenant)
    with psutil.Popen(["sleep", "60"]) as child:
        mine = world.must_claim(Stage.RENDER, name_of(child.pid))
        world.must_claim(Stage.RENDER, "another")
        warden = Warden(settings, lambda: [child.pid])
        warden.end_children()
        warden._database.close()
        assert child.wait(5) == -signal.SIGKILL
    assert mine.video_id == video_id
    assert (world.state(tenant, video_id), world.state(tenant, others)) == (State.QUEUED, State.RENDERING)
    found = rows(world.database, "SELECT crashes, failures FROM videos WHERE id = :id", id=video_id)
    assert [tuple(row) for row in found] == [(0, 0)]
    assert [
        row.running for row in rows(world.database, "SELECT running FROM tenant_sched WHERE queue LIKE 'render%'")
    ] == [1]


LEAVES = """
import sys, time
from runtime.settings import Secret, Settings
from worker import warden
warden.LEAVING_SECONDS = 0.1
silent = Settings(database_url=Secret(sys.argv[1]), grace_seconds=0.1)
leaving = warden.Warden(silent, lambda: [int(sys.argv[2])])
leaving.start()
leaving.leave()
print("leaves", flush=True)
time.sleep(60)
"""


def test_a_postgres_that_answers_no_more_does_not_keep_a_worker_that_leaves() -> None:
    with socket.create_server(("127.0.0.1", 0)) as black_hole, psutil.Popen(["sleep", "60"]) as child:
        url = f"postgresql+psycopg://a:b@127.0.0.1:{black_hole.getsockname()[1]}/c"
        command = [sys.executable, "-c", LEAVES, url, str(child.pid)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as leaving:
            assert leaving.stdout is not None
            assert leaving.stdout.readline() == b"leaves\n"
            begun = time.monotonic()
            assert leaving.wait(30) == 1
        took = time.monotonic() - begun
        assert child.wait(5) == -signal.SIGKILL
    print(f"gone {took:.1f} s after it was told to leave")
    assert took < 0.2 + HANDING_BACK_SECONDS + 1.5


def cancelled(world: World, video_id: UUID) -> bool:
    try:
        with world.database.transaction_for_any_tenant() as connection:
            interventions.cancel_for_any_tenant(connection, Actor("test"), video_id)
    except sa.exc.OperationalError:
        return False
    return True


@pytest.mark.parametrize(
    "why",
    [pytest.param("a step never returns", marks=pytest.mark.slow), "nothing in the child runs any more"],
)
def test_a_child_that_ignores_a_cancel_is_killed_and_the_worker_takes_the_next_video(
    world: World, settings: Settings, tmp_path: Path, why: str
) -> None:
    quick = replace(settings, overstay_seconds=2.0, hint_seconds=0.2, testcard_step_seconds=10_000.0, grace_seconds=1.0)
    quick = replace(quick, lease_seconds=60.0)  # the reaper has no part in this, however busy the machine is
    tenant = world.tenant(render_cap=1)
    stuck = world.queued(tenant)
    with dispatching(quick), worker(quick, QUEUES[Stage.RENDER], tmp_path) as one:
        first = eventually(lambda: rows(world.database, AT_WORK), 60, one.log)[0]
        assert first.video_id == stuck
        following = world.queued(tenant)
        child = int(first.worker.rpartition(":")[2])
        assert child in {each.pid for each in children(one.pid)}
        time.sleep(1.0)  # the child has said by now which video it is at
        if why == "nothing in the child runs any more":
            os.kill(child, signal.SIGSTOP)
        eventually(lambda: cancelled(world, stuck), 20)  # a frozen child may hold the row's lock for five seconds
        begun = time.monotonic()
        eventually(lambda: not psutil.pid_exists(child), 30, one.log)
        killed = time.monotonic() - begun
        (after,) = eventually(lambda: rows(world.database, AT_WORK), 60, one.log)
        assert after.video_id == following
        print(f"{why}: killed {killed:.1f} s after the cancel, next video after {time.monotonic() - begun:.1f} s")
        assert 2.0 <= killed < 10
        # This one never returns either: the end of the worker has a bound of its own.
        time.sleep(1.0)
        took = one.stop(within=20)
    print(f"SIGTERM with a step that never returns: gone after {took:.1f} s, with a grace of 1 s")
    assert took <= 1.0 + 5.0
    assert world.state(tenant, stuck) is State.CANCELLED
    assert world.state(tenant, following) is State.QUEUED
    ended = rows(world.database, "SELECT outcome FROM attempts WHERE stage = 'render' ORDER BY started_at")
    assert [row.outcome for row in ended] == ["cancelled", "released"]
