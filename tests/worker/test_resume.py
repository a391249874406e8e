"""A drain that was asked for in the database ends there; one by a signal does not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from domain.administration import Actor
from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import interventions, workers
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.workers import dispatching, eventually, rows, worker
from tests.worker.looking import looking
from worker.deafness import Ears
from worker.presence import Presence
from worker.process import Process

RENDER = QUEUES[Stage.RENDER]
OPERATOR = Actor("cli:tests")
A_WHILE = 1.0  # several beats, and as many looks of a worker at rest


@pytest.fixture
def renderer(settings: Settings) -> Iterator[tuple[Process, Presence]]:
    process = Process(replace(settings, deaf_seconds=A_WHILE), (RENDER,))
    presence = Presence(process)
    yield process, presence
    process.draining.set()
    presence.stop()
    process.ringer.stop()
    process.database.close()


def state_of(world: World) -> str | None:
    found = rows(world.database, "SELECT state FROM workers WHERE :queue = ANY(queues)", queue=RENDER)
    return found[0].state if found else None


def until(world: World, state: str, log: Path | None = None) -> None:
    eventually(lambda: state_of(world) == state, 30, log)


def tell(world: World, what: Callable[..., None]) -> None:
    """As the command and the admin API do."""
    (one,) = rows(world.database, "SELECT id FROM workers WHERE :queue = ANY(queues)", queue=RENDER)
    with world.database.transaction_for_any_tenant() as connection:
        what(connection, OPERATOR, one.id)


def stays_queued(world: World, tenant: UUID, video_id: UUID, seconds: float = A_WHILE) -> None:
    time.sleep(seconds)
    assert world.state(tenant, video_id) is State.QUEUED


def test_a_drained_worker_claims_nothing_until_it_is_resumed(world: World, renderer: tuple[Process, Presence]) -> None:
    process, presence = renderer
    tenant = world.tenant()
    until(world, "idle")
    tell(world, interventions.drain_for_any_tenant)
    until(world, "draining")
    video_id = world.queued(tenant)
    with looking(process, presence, within=20) as hint:
        stays_queued(world, tenant, video_id)
        assert hint.is_alive(), "it stays at this hint, so that others get the next one"
        tell(world, interventions.resume_for_any_tenant)
        begun = time.monotonic()
        eventually(lambda: world.state(tenant, video_id) is not State.QUEUED, 5)
        print(f"claimed {time.monotonic() - begun:.2f} s after it was resumed; a beat is 0.2 s")
    assert world.state(tenant, video_id) is State.RENDERED
    until(world, "idle")
    assert [row.action for row in rows(world.database, "SELECT action FROM audit_log ORDER BY id")] == [
        "worker.drained",
        "worker.resumed",
    ]


@pytest.mark.parametrize("asked", [True, False], ids=["drained before", "not drained before"])
def test_a_worker_that_leaves_is_not_resumed(world: World, renderer: tuple[Process, Presence], *, asked: bool) -> None:
    process, presence = renderer
    tenant = world.tenant()
    until(world, "idle")
    if asked:
        tell(world, interventions.drain_for_any_tenant)
        until(world, "draining")
    process.draining.set()
    until(world, "draining")
    tell(world, interventions.resume_for_any_tenant)
    video_id = world.queued(tenant)
    with looking(process, presence, within=20):
        stays_queued(world, tenant, video_id)
    assert process.draining.is_set()
    assert state_of(world) == "draining"


def test_a_worker_listens_again_once_it_is_resumed(world: World, renderer: tuple[Process, Presence]) -> None:
    """Drained, it misses nothing however much waits; then its deafness counts as before."""
    process, presence = renderer
    until(world, "idle")
    tell(world, interventions.drain_for_any_tenant)
    until(world, "draining")
    world.queued(world.tenant())
    left = threading.Event()
    Ears(process, presence, left.set)
    assert not left.wait(3 * A_WHILE)
    tell(world, interventions.resume_for_any_tenant)
    assert left.wait(10 * A_WHILE)


def test_a_drain_outlives_the_row_of_its_worker(world: World, renderer: tuple[Process, Presence]) -> None:
    """As when it was silent for so long that the dispatcher forgot it."""
    process, _ = renderer
    until(world, "idle")
    tell(world, interventions.drain_for_any_tenant)
    until(world, "draining")
    with world.database.transaction_for_any_tenant() as connection:
        workers.forget_for_any_tenant(connection, -60)
    until(world, "draining")
    time.sleep(A_WHILE)
    assert process.draining.resting
    tell(world, interventions.resume_for_any_tenant)
    until(world, "idle")


@pytest.mark.timeout(200)
def test_a_worker_process_rests_goes_on_and_leaves(world: World, settings: Settings, tmp_path: Path) -> None:
    quick = replace(settings, hint_seconds=0.2, grace_seconds=5.0)
    tenant = world.tenant()
    with dispatching(quick), worker(quick, RENDER, tmp_path) as running:
        until(world, "idle", running.log)
        tell(world, interventions.drain_for_any_tenant)
        until(world, "draining", running.log)
        first = world.queued(tenant)
        stays_queued(world, tenant, first, 2 * A_WHILE)
        tell(world, interventions.resume_for_any_tenant)
        eventually(lambda: world.state(tenant, first) is State.RENDERED, 30, running.log)
        tell(world, interventions.drain_for_any_tenant)
        until(world, "draining", running.log)
        second = world.queued(tenant)
        (child,) = rows(world.database, "SELECT pid FROM workers WHERE :queue = ANY(queues)", queue=RENDER)
        os.kill(child.pid, signal.SIGUSR2)
        tell(world, interventions.resume_for_any_tenant)
        stays_queued(world, tenant, second, 2 * A_WHILE)
        assert state_of(world) == "draining"
        took = running.stop(quick.grace_seconds + 10)
    print(f"gone {took:.1f} s after SIGTERM")
