"""SIGTERM while videos are at work: the worker is gone in time, nothing counts as a crash, another one goes on."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from domain.lifecycle import Stage
from runtime.settings import Settings
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.workers import WorkerProcess, dispatching, eventually, rows, worker

pytestmark = pytest.mark.timeout(600)

GRACE = 5.0
LONG, SHORT = 10_000, 12  # steps: the one cannot end within the grace, the other may
AT_WORK = "SELECT worker FROM attempts WHERE stage = 'render' AND ended_at IS NULL"
RUNNING = "SELECT running FROM tenant_sched WHERE queue LIKE 'render%'"


def slots_of(world: World) -> set[str]:
    """Which children are at work."""
    return {row.worker for row in rows(world.database, AT_WORK)}


@pytest.mark.parametrize(("stops", "slots"), [(1, 2), pytest.param(10, 5, marks=pytest.mark.slow)])
def test_sigterm_hands_back_or_finishes_within_its_grace_and_another_worker_goes_on(
    world: World, settings: Settings, tmp_path: Path, stops: int, slots: int
) -> None:
    quick = replace(settings, testcard_step_seconds=0.2, grace_seconds=GRACE, hint_seconds=0.2, lease_seconds=30.0)
    quick = replace(quick, cancel_poll_seconds=1.0, beat_seconds=1.0)  # ten children that ask all the time keep a core
    tenant = world.tenant(render_cap=2 * slots)
    endless = [world.queued(tenant, steps=LONG, priority=1) for _ in range(slots - 1)]
    took: list[float] = []
    takeovers: list[float] = []
    before: set[str] = set()
    with ExitStack() as running, dispatching(quick):
        now = running.enter_context(worker(quick, QUEUES[Stage.RENDER], tmp_path, slots))
        for _ in range(stops):
            short = world.queued(tenant, steps=SHORT)
            at_work_beside(world, before, slots, now)
            before |= slots_of(world)
            following = running.enter_context(worker(quick, QUEUES[Stage.RENDER], tmp_path, slots))
            eventually(lambda: living(world) >= 2 * slots, 90, following.log)
            begun = time.monotonic()
            now.process.send_signal(signal.SIGTERM)
            eventually(lambda: draining(world), GRACE)
            now.process.wait(GRACE + 10)
            took.append(time.monotonic() - begun)
            at_work_beside(world, before, len(endless), following)
            takeovers.append(time.monotonic() - begun)
            assert world.state(tenant, short) in {"rendered", "rendering", "queued"}
            now = following
        (running_now,) = [row.running for row in rows(world.database, RUNNING)]
        assert running_now == len(rows(world.database, AT_WORK)), "every slot was given back"
    print(f"{stops * slots} videos in hand at {stops} SIGTERMs: gone after {min(took):.1f} to {max(took):.1f} s,")
    print(f"grace {GRACE} s; the last of them at work elsewhere after at most {max(takeovers):.1f} s")
    assert max(took) <= GRACE + 5.0
    outcomes = "SELECT outcome, count(*) FROM attempts WHERE stage = 'render' AND ended_at IS NOT NULL GROUP BY outcome"
    counts = {row.outcome: row.count for row in rows(world.database, outcomes)}
    print(counts)
    assert set(counts) <= {"released", "done"}
    assert counts["released"] >= stops * (slots - 1)
    assert rows(world.database, "SELECT 1 FROM videos WHERE crashes > 0 OR failures > 0") == []


def living(world: World) -> int:
    """Children that have reported and do not leave."""
    return len(
        rows(world.database, "SELECT 1 FROM workers WHERE queues = ARRAY['render.small'] AND state <> 'draining'")
    )


def at_work_beside(world: World, others: set[str], count: int, one: WorkerProcess) -> None:
    """Wait until so many children that are none of the others are at work."""
    eventually(lambda: len(slots_of(world) - others) >= count, 90, one.log)


def draining(world: World) -> bool:
    """Children say that they leave."""
    return bool(rows(world.database, "SELECT 1 FROM workers WHERE state = 'draining'"))
