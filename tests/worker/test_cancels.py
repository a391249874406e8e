"""Cancels at random moments, of real worker processes: how soon a render stops, and that it ends only once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from domain.administration import Actor
from domain.errors import Conflict
from domain.lifecycle import Stage
from runtime.settings import Settings
from storage import interventions
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.workers import WorkerProcess, dispatching, eventually, rows, worker

pytestmark = pytest.mark.timeout(300)

STEP_SECONDS = 0.1
ENDLESS = 10_000  # steps
AT_WORK = "SELECT video_id, fence FROM attempts WHERE stage = 'render' AND ended_at IS NULL AND outcome IS NULL"
# From the commit of a cancel to the next claim of the same child, both by the database's clock.
GAPS = """
SELECT extract(epoch FROM following - ended_at) FROM (
  SELECT ended_at, outcome, lead(started_at) OVER (PARTITION BY worker ORDER BY started_at) AS following
  FROM attempts WHERE stage = 'render'
) AS each WHERE outcome = 'cancelled' AND following IS NOT NULL
"""
DOUBLE = """
SELECT v.id FROM videos v
WHERE (SELECT count(*) FROM events e WHERE e.video_id = v.id AND e.type IN ('completed', 'cancelled', 'failed')) <> 1
   OR (v.state = 'cancelled' AND EXISTS (SELECT 1 FROM outputs o WHERE o.video_id = v.id))
   OR (v.state = 'completed') <> EXISTS (SELECT 1 FROM outputs o WHERE o.video_id = v.id)
   OR (SELECT count(*) FROM webhook_messages m
       WHERE m.video_id = v.id AND m.type IN ('video.completed', 'video.failed')) > 1
"""
CHARGED = """
SELECT v.id FROM videos v WHERE v.state = 'cancelled'
  AND (SELECT coalesce(sum(l.micros), 0) FROM ledger l WHERE l.video_id = v.id) <> 0
"""


@contextmanager
def renderers(settings: Settings, folder: Path, slots: int) -> Iterator[WorkerProcess]:
    """So many children that render."""
    quick = replace(settings, testcard_step_seconds=STEP_SECONDS, cancel_poll_seconds=0.5, hint_seconds=0.2)
    quick = replace(quick, lease_seconds=30.0)  # on a busy machine two seconds end by themselves
    with dispatching(quick), worker(quick, QUEUES[Stage.RENDER], folder, slots) as one:
        yield one


def cancel(world: World, video_id: UUID) -> bool:
    """False: it was finished already."""
    try:
        with world.database.transaction_for_any_tenant() as connection:
            interventions.cancel_for_any_tenant(connection, Actor("test"), video_id)
    except Conflict:
        return False
    return True


def cancel_whatever_runs(world: World, number: int, draw: random.Random, log: Path) -> None:
    """Each `number` times at a random step of the first two seconds."""
    due: dict[tuple[UUID, int], float] = {}
    done: set[tuple[UUID, int]] = set()
    deadline = time.monotonic() + 200
    while len(done) < number:
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        for row in rows(world.database, AT_WORK):
            key = (row.video_id, row.fence)
            at = due.setdefault(key, time.monotonic() + draw.uniform(0, 1.5))
            if key not in done and time.monotonic() >= at:
                assert cancel(world, row.video_id)
                done.add(key)
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "slots"), [(12, 2), pytest.param(200, 4, marks=pytest.mark.slow)])
def test_a_cancelled_render_stops_within_a_step_and_a_second(
    world: World, settings: Settings, tmp_path: Path, number: int, slots: int
) -> None:
    tenant = world.tenant(render_cap=slots)
    for _ in range(number + slots):
        world.queued(tenant, steps=ENDLESS)
    with renderers(settings, tmp_path, slots) as one:
        eventually(lambda: len(rows(world.database, AT_WORK)) == slots, 90, one.log)
        cancel_whatever_runs(world, number, random.Random(number), one.log)
        gaps = sorted(float(row[0]) for row in eventually(lambda: all_claimed(world, number), 30, one.log))
    p95 = gaps[int(len(gaps) * 0.95)]
    print(f"{number} cancels: a child is at its next video after p50 {gaps[len(gaps) // 2]:.2f} s, p95 {p95:.2f} s,")
    print(f"at most {gaps[-1]:.2f} s, with steps of {STEP_SECONDS} s")
    assert p95 <= STEP_SECONDS + 1.0
    assert rows(world.database, CHARGED) == []


def all_claimed(world: World, number: int) -> list[object] | None:
    """Each of the cancelled ones had a successor on its child."""
    gaps = rows(world.database, GAPS)
    return gaps if len(gaps) >= number else None


def test_a_cancelled_video_that_waits_ends_at_once_and_never_runs(world: World) -> None:
    tenant = world.tenant()
    ids = [world.queued(tenant) for _ in range(50)]
    slowest = 0.0
    for video_id in ids:
        begun = time.monotonic()
        assert cancel(world, video_id)
        slowest = max(slowest, time.monotonic() - begun)
        assert world.state(tenant, video_id) == "cancelled"
    print(f"50 waiting videos cancelled, the slowest in {slowest * 1000:.0f} ms")
    assert slowest < 1.0
    assert world.claim(Stage.RENDER) is None
    assert rows(world.database, CHARGED) == []


def test_a_claim_and_a_cancel_at_once_leave_one_end(world: World) -> None:
    tenant = world.tenant(render_cap=1000)
    ids = [world.queued(tenant) for _ in range(40)]
    claimer = threading.Thread(target=lambda: [world.claim(Stage.RENDER) for _ in ids])
    claimer.start()
    for video_id in ids:
        assert cancel(world, video_id)
    claimer.join()
    assert {row.state for row in rows(world.database, "SELECT state FROM videos")} == {"cancelled"}
    assert rows(world.database, "SELECT 1 FROM attempts WHERE ended_at IS NULL") == []
    assert [
        row.running for row in rows(world.database, "SELECT running FROM tenant_sched WHERE queue LIKE 'render%'")
    ] in ([], [0])
    assert rows(world.database, DOUBLE) == []
