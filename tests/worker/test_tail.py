"""While one video's files are written and stored, the next one is drawn: no idle GPU, and nothing else changes."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa

from domain.administration import Actor
from domain.lifecycle import Stage, State
from domain.video import Size
from engines.protocol import Step
from engines.testcard import TestcardEngine
from runtime.settings import Settings
from storage import interventions, videos
from storage.objects import ObjectStore
from storage.tables import videos as table
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.wire import Wire, wire_to
from tests.fixtures.workers import dispatching, eventually, rows, worker
from tests.worker.looking import looking
from worker.pipeline.tail import Parts, Tail, through
from worker.presence import Presence
from worker.process import Process

RENDER = QUEUES[Stage.RENDER]
DRAWN = "SELECT video_id FROM attempts WHERE timings ? 'gpu_ms' AND ended_at IS NULL"
AT_WORK = "SELECT video_id, worker FROM attempts WHERE stage = 'render' AND ended_at IS NULL"
OUTCOMES = "SELECT video_id, outcome FROM attempts WHERE stage = 'render' AND ended_at IS NOT NULL ORDER BY fence"


class Watched(TestcardEngine):
    """Notes when each step began."""

    __test__ = False

    def __init__(self, step_seconds: float) -> None:
        super().__init__(step_seconds)
        self.seen: list[tuple[float, Step]] = []

    def render(self, plan: Any, conditions: Any, on_step: Callable[[Step], None]) -> Iterator[Any]:
        def noted(step: Step) -> None:
            self.seen.append((time.monotonic(), step))
            on_step(step)

        yield from super().render(plan, conditions, noted)


@pytest.fixture
def wire(settings: Settings) -> Iterator[Wire]:
    """The way to the object store."""
    at = urlsplit(settings.s3_endpoint_url)
    assert at.hostname
    assert at.port
    with wire_to(at.hostname, at.port) as made:
        yield made


@contextmanager
def renderer(settings: Settings, wire: Wire, step_seconds: float = 0.02) -> Iterator[tuple[Process, Presence]]:
    """What a worker's child owns, its engine warm."""
    behind = replace(settings, s3_endpoint_url=f"http://127.0.0.1:{wire.port}", testcard_step_seconds=step_seconds)
    process = Process(behind, (RENDER,))
    presence = Presence(process)
    try:
        yield process, presence
    finally:
        process.draining.set()
        presence.stop()
        process.ringer.stop()
        process.database.close()


def in_tail(world: World, video_id: UUID) -> bool:
    return [row.video_id for row in rows(world.database, DRAWN)] == [video_id]


def outcomes(world: World, video_id: UUID) -> list[str]:
    return [row.outcome for row in rows(world.database, OUTCOMES) if row.video_id == video_id]


def steps_of(engine: Watched, phase: str) -> list[float]:
    return [at for at, step in engine.seen if step.phase == phase]


def large(world: World, tenant: UUID, steps: int) -> UUID:
    """A second that takes long to encode."""
    new = world.planned(steps=steps)
    new = replace(new, plan=replace(new.plan, delivered=Size(1280, 720)))
    with world.database.transaction(tenant) as connection:
        videos.create(connection, tenant, new)
    world.advance(Stage.SCREEN)
    return new.id


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_gpu_does_not_wait_while_files_are_written_and_stored(
    world: World, settings: Settings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = ObjectStore.put

    def slowly(self: ObjectStore, *arguments: Any) -> None:
        time.sleep(0.25)
        put(self, *arguments)

    monkeypatch.setattr(ObjectStore, "put", slowly)
    tenant = world.tenant()
    ids = [large(world, tenant, steps=25) for _ in range(3)]
    with renderer(replace(settings, lease_seconds=30.0), wire) as (process, presence):
        engine = Watched(0.4)
        process.engines._warm["testcard"] = engine, 0
        with looking(process, presence):
            pass  # nobody else asks Postgres meanwhile
    assert all(world.state(tenant, each) is State.RENDERED for each in ids)
    begins = [at for at, step in engine.seen if (step.phase, step.done) == ("denoise", 0)]
    ends = [at for at, step in engine.seen if step.phase == "decode" and step.done == step.total]
    renders = [end - begin for begin, end in zip(begins, ends, strict=True)]
    gaps = [begin - end for end, begin in zip(ends[:-1], begins[1:], strict=True)]
    tails = [
        timings["encode_ms"] + timings["upload_ms"]
        for (timings,) in rows(world.database, "SELECT timings FROM attempts WHERE stage = 'render'")
    ]
    share = min(gaps) / statistics.median(renders)  # other processes' turns are not the worker's
    print(f"renders of {statistics.median(renders):.2f} s with tails of {statistics.median(tails) / 1000:.2f} s:")
    print(f"from one's last frame to the next one's first step {[f'{gap * 1000:.0f} ms' for gap in gaps]}: {share:.1%}")
    assert min(tails) > 700, "without a thread of its own each would be a tenth of a render"
    assert share <= 0.02


def test_what_the_gpu_was_not_needed_for_costs_nothing(world: World, settings: Settings, wire: Wire) -> None:
    tenant = world.tenant()
    first = world.queued(tenant)
    with renderer(settings, wire) as (process, presence):
        wire.cut()
        with looking(process, presence):
            eventually(lambda: in_tail(world, first), 30)
            time.sleep(1.5)
            wire.mend()
            eventually(lambda: world.state(tenant, first) is State.RENDERED, 30)
    found = "SELECT gpu_ms, extract(epoch FROM ended_at - started_at) * 1000 AS took_ms FROM videos JOIN attempts"
    (cost,) = rows(world.database, f"{found} ON video_id = videos.id AND stage = 'render'")
    assert 160 <= cost.gpu_ms <= cost.took_ms - 1400
    vtime = "SELECT vtime FROM tenant_sched WHERE queue = :queue AND running = 0"
    assert [row.vtime for row in rows(world.database, vtime, queue=RENDER)] == [cost.gpu_ms]


@pytest.mark.parametrize("how", ["cancelled", "given up"])
def test_the_end_of_a_tail_is_nothing_to_the_video_that_is_drawn(
    world: World, settings: Settings, wire: Wire, tmp_path: Path, how: str
) -> None:
    """Its folder goes with it, and the other one goes on."""
    tenant = world.tenant()
    first, second = world.queued(tenant), world.queued(tenant, steps=10_000)
    patience = 0.0 if how == "given up" else 600.0
    with renderer(replace(settings, patience_seconds=patience), wire, 0.05) as (process, presence):
        wire.cut()
        with looking(process, presence):
            eventually(lambda: in_tail(world, first), 30)
            eventually(lambda: len(list(tmp_path.glob("kinema-work-*"))) == 2, 20)
            reported = "SELECT state, video_id FROM workers WHERE :queue = ANY(queues)"
            eventually(lambda: tuple(*rows(world.database, reported, queue=RENDER)) == ("busy", second), 20)
            if how == "cancelled":
                with world.database.transaction_for_any_tenant() as connection:
                    interventions.cancel_for_any_tenant(connection, Actor("test"), first)
            eventually(lambda: outcomes(world, first), 20)
            eventually(lambda: len(list(tmp_path.glob("kinema-work-*"))) == 1, 5)
            assert world.state(tenant, second) is State.RENDERING
            process.draining.set()
    assert outcomes(world, second) == ["released"]
    assert outcomes(world, first) == ["cancelled" if how == "cancelled" else "store_away"]
    assert list(tmp_path.glob("kinema-work-*")) == []


def test_no_third_video_begins_while_two_wait_for_the_store(world: World, settings: Settings, wire: Wire) -> None:
    tenant = world.tenant()
    ids = [world.queued(tenant) for _ in range(3)]
    with renderer(settings, wire) as (process, presence):
        wire.cut()
        with looking(process, presence):
            eventually(lambda: len(rows(world.database, DRAWN)) == 2, 30)
            time.sleep(1.0)
            assert [world.state(tenant, each) for each in ids] == [State.RENDERING, State.RENDERING, State.QUEUED]
            wire.mend()
            eventually(lambda: all(world.state(tenant, each) is State.RENDERED for each in ids), 30)


def test_a_video_that_a_worker_died_over_shares_no_worker(world: World, settings: Settings, wire: Wire) -> None:
    """Or a neighbour that kills its worker each time would make it poison."""
    tenant = world.tenant()
    ids = [world.queued(tenant) for _ in range(3)]
    suspect = ids[1]
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.update(table).where(table.c.id == suspect).values(crashes=1))
    with renderer(settings, wire) as (process, presence):
        engine = Watched(0.02)
        process.engines._warm["testcard"] = engine, 0
        wire.cut()
        with looking(process, presence):
            eventually(lambda: len(rows(world.database, DRAWN)) == 1, 20)
            time.sleep(1.0)
            assert len(steps_of(engine, "denoise")) == 8, "it waits for the tail of the one before"
            assert world.state(tenant, suspect) is State.QUEUED, "and holds no lease meanwhile"
            wire.mend()
            eventually(lambda: len(steps_of(engine, "denoise")) > 8, 20)
            wire.cut()
            eventually(lambda: len(rows(world.database, DRAWN)) == 1, 20)
            time.sleep(1.0)
            assert len(steps_of(engine, "denoise")) == 16, "and nothing begins while its own goes on"
            wire.mend()
            eventually(lambda: all(world.state(tenant, each) is State.RENDERED for each in ids), 30)


@pytest.mark.parametrize("mended", [True, False], ids=["the store is back", "the store stays away"])
def test_a_worker_that_leaves_gives_a_tail_its_grace(
    world: World, settings: Settings, wire: Wire, *, mended: bool
) -> None:
    tenant = world.tenant()
    first, second = world.queued(tenant), world.queued(tenant, steps=10_000)
    with renderer(replace(settings, grace_seconds=4.0, lease_seconds=30.0), wire, 0.05) as (process, presence):
        wire.cut()
        with looking(process, presence) as hint:
            eventually(lambda: in_tail(world, first), 30)
            begun = time.monotonic()
            process.draining.set()
            eventually(lambda: outcomes(world, second) == ["released"], 10)
            if mended:
                wire.mend()
            hint.join(15)
            took = time.monotonic() - begun
    print(f"gone {took:.1f} s after it was told to leave, with a grace of 4 s")
    assert outcomes(world, first) == ["done" if mended else "released"]
    assert world.state(tenant, first) is (State.RENDERED if mended else State.QUEUED)
    assert took < 4.0 + 5.0


@contextmanager
def in_a_process(world: World, settings: Settings, wire: Wire, folder: Path) -> Iterator[tuple[Any, UUID, UUID]]:
    """A real worker, whose first video is in its tail while it draws the second."""
    quick = replace(settings, testcard_step_seconds=0.05, hint_seconds=0.2, grace_seconds=4.0, lease_seconds=5.0)
    quick = replace(quick, s3_endpoint_url=f"http://127.0.0.1:{wire.port}")
    tenant = world.tenant()
    first, second = world.queued(tenant), world.queued(tenant, steps=100)
    wire.cut()
    with dispatching(settings), worker(quick, RENDER, folder) as running:
        eventually(lambda: in_tail(world, first), 90, running.log)
        eventually(lambda: len(rows(world.database, AT_WORK)) == 2, 10, running.log)
        yield running, first, second


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_worker_killed_in_a_tail_loses_both_videos_and_each_completes_once(
    world: World, settings: Settings, wire: Wire, tmp_path: Path
) -> None:
    with in_a_process(world, settings, wire, tmp_path) as (running, first, second):
        (child,) = {row.worker for row in rows(world.database, AT_WORK)}
        psutil.Process(int(child.rpartition(":")[2])).send_signal(signal.SIGKILL)
        begun = time.monotonic()
        wire.mend()
        done = "SELECT 1 FROM videos WHERE state = 'rendered'"
        eventually(lambda: len(rows(world.database, done)) == 2, 60, running.log)
    print(f"both rendered {time.monotonic() - begun:.1f} s after the kill, leases of 5 s")
    assert outcomes(world, first) == ["crashed", "done"]
    assert outcomes(world, second) == ["crashed", "done"]
    ends = "SELECT video_id, count(*) FROM events WHERE type = 'rendered' GROUP BY video_id"
    assert {row.video_id: row.count for row in rows(world.database, ends)} == {first: 1, second: 1}
    assert rows(world.database, "SELECT 1 FROM tenant_sched WHERE running <> 0") == []
    beside = """SELECT 1 FROM attempts a, attempts b WHERE a.stage = 'render' AND b.stage = 'render'
        AND a.outcome = 'done' AND b.outcome = 'done' AND a.started_at < b.started_at AND b.started_at < a.ended_at"""
    assert rows(world.database, beside) == [], "each has met a crash, so it is alone now"


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_sigterm_in_a_tail_hands_both_videos_back(world: World, settings: Settings, wire: Wire, tmp_path: Path) -> None:
    with in_a_process(world, settings, wire, tmp_path) as (running, first, second):
        took = running.stop(20)
    print(f"gone {took:.1f} s after SIGTERM, with a grace of 4 s")
    assert took < 4.0 + 5.0
    assert (outcomes(world, first), outcomes(world, second)) == (["released"], ["released"])
    assert rows(world.database, "SELECT 1 FROM videos WHERE crashes > 0 OR failures > 0") == []


def counting(seen: list[str], free: threading.Event | None = None) -> Parts[int]:
    seen.append(threading.current_thread().name)
    yield
    seen.append(threading.current_thread().name)
    if free:
        free.wait(10)
    return 7


def test_the_rest_goes_on_in_a_thread_unless_there_is_one_already() -> None:
    free, one, two = threading.Event(), list[str](), list[str]()
    here = threading.current_thread().name
    with Tail() as tail:
        tail.follow(counting(one, free))
        tail.follow(counting(two))
        assert two == [here, here]
        assert tail.wait(0.01), "it is at work"
        free.set()
        assert tail.wait(5)
        assert not tail.wait(), "it is over"
    assert one == [here, "tail"]
    assert through(counting(two)) == 7


def test_a_tail_that_fails_is_logged_and_makes_room_for_the_next(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Parts[None]:
        yield
        raise ZeroDivisionError

    seen: list[str] = []
    with Tail() as tail:
        tail.follow(fails())
        tail.wait(5)
        tail.follow(counting(seen))
    assert seen[1] == "tail"
    assert "a tail failed" in caplog.text
