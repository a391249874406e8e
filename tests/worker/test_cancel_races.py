"""A cancel against the end of publishing, at the same moment: one of them wins, and the other leaves no trace."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.administration import Actor
from domain.errors import Conflict
from domain.lifecycle import Stage, State
from storage import interventions, outputs
from storage.outputs import CONTENT_TYPES, Kind, Output
from storage.schedule import Lease
from tests.fixtures.videos import World
from tests.fixtures.workers import eventually, rows
from worker.outcome import Done
from worker.pipeline.work import _settle
from worker.process import Process

ROUNDS = 100
ENDS = {State.COMPLETED: "video.completed", State.CANCELLED: "video.failed"}
STORY = """
SELECT v.state,
  ARRAY(SELECT e.type FROM events e WHERE e.video_id = v.id AND e.type IN ('completed', 'cancelled', 'failed')) AS ends,
  ARRAY(SELECT m.type FROM webhook_messages m
        WHERE m.video_id = v.id AND m.type IN ('video.completed', 'video.failed')) AS messages,
  ARRAY(SELECT a.outcome FROM attempts a WHERE a.video_id = v.id AND a.stage = 'publish') AS outcomes,
  (SELECT count(*) FROM outputs o WHERE o.video_id = v.id) AS outputs,
  (SELECT count(*) FROM objects b WHERE b.video_id = v.id AND b.doomed_at IS NULL) AS kept,
  (SELECT sum(l.micros) FROM ledger l WHERE l.video_id = v.id AND l.kind IN ('hold', 'release')) AS held,
  (SELECT coalesce(sum(l.micros), 0) FROM ledger l WHERE l.video_id = v.id AND l.kind = 'charge') AS charged
FROM videos v WHERE v.id = :id
"""
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


def uploaded(world: World, tenant: UUID) -> Lease:
    """A video whose publisher has nothing left to do but to say so."""
    world.queued(tenant)
    world.advance(Stage.RENDER)
    lease = world.must_claim(Stage.PUBLISH)
    with world.database.transaction(tenant) as connection:
        assert outputs.register(connection, lease, "output", [outputs.key(lease, kind) for kind in Kind])
    return lease


def complete(process: Process, lease: Lease) -> State | None:
    """What a publisher does at its end."""
    files = [Output(kind, outputs.key(lease, kind), CONTENT_TYPES[kind], b"", 1) for kind in Kind]
    done = Done(State.COMPLETED, lambda connection: outputs.publish(connection, lease.tenant_id, lease.video_id, files))
    return _settle(process, lease, done)


def cancel(world: World, lease: Lease) -> State | None:
    """None: it was finished already."""
    try:
        with world.database.transaction_for_any_tenant() as connection:
            interventions.cancel_for_any_tenant(connection, Actor("test"), lease.video_id)
    except Conflict:
        return None
    return State.CANCELLED


@contextmanager
def row_locked(world: World, lease: Lease) -> Iterator[None]:
    """Nobody gets at the video within: they all stand in line."""
    with world.database.transaction(lease.tenant_id) as connection:
        connection.execute(sa.text("SELECT 1 FROM videos WHERE id = :id FOR UPDATE"), {"id": lease.video_id})
        yield


def in_line(world: World) -> int:
    """How many wait for a lock. Only their own role, before it takes another one, may see that."""
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text("RESET ROLE"))
        return connection.execute(sa.text(WAITING)).scalar_one()


def stand_in_line(
    world: World, lease: Lease, pool: ThreadPoolExecutor, acts: list[Callable[[], State | None]]
) -> list[Future[State | None]]:
    """Each begins while the one before waits for the row, so that all of them wait when it becomes free."""
    results: list[Future[State | None]] = []
    with row_locked(world, lease):
        for act in acts:
            results.append(pool.submit(act))
            eventually(lambda: in_line(world) >= len(results), 1.5)
    return results


def start_at_once(
    pool: ThreadPoolExecutor, acts: list[Callable[[], State | None]], gap: float
) -> list[Future[State | None]]:
    """Both begin together, the second one a moment later."""
    ready = threading.Barrier(len(acts))

    def begin(act: Callable[[], State | None], after: float) -> State | None:
        ready.wait(10)
        time.sleep(after)
        return act()

    return [pool.submit(begin, act, number * gap) for number, act in enumerate(acts)]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["both wait for the row", "both begin at once"])
def test_a_video_is_never_both_completed_and_cancelled(world: World, process: Process, how: str) -> None:
    draw = random.Random(how)
    tenant = world.tenant(render_cap=1000)
    won: dict[State, int] = dict.fromkeys(ENDS, 0)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS // 2):
            lease = uploaded(world, tenant)
            acts = [lambda lease=lease: complete(process, lease), lambda lease=lease: cancel(world, lease)]
            draw.shuffle(acts)
            if how == "both wait for the row":
                results = stand_in_line(world, lease, pool, acts)
            else:
                results = start_at_once(pool, acts, draw.uniform(0, 0.01))
            winners = [won_by for result in results if (won_by := result.result(30)) is not None]
            assert len(winners) == 1, f"{winners} of one video"
            won[winners[0]] += 1
            check(world, lease, winners[0])
    print(f"{how}: {won}")
    assert all(won.values()), "the race was none"
    assert rows(world.database, "SELECT 1 FROM attempts WHERE ended_at IS NULL") == []
    assert [row.running for row in rows(world.database, "SELECT running FROM tenant_sched WHERE running <> 0")] == []


def check(world: World, lease: Lease, winner: State) -> None:
    """Everything about the video speaks of this one end."""
    (story,) = rows(world.database, STORY, id=lease.video_id)
    done = winner is State.COMPLETED
    assert (story.state, story.ends, story.messages) == (winner, [winner], [ENDS[winner]])
    assert story.outcomes == ["done" if done else "cancelled"]
    assert (story.outputs, story.kept) == ((len(Kind), len(Kind)) if done else (0, 0))
    assert story.held == 0, "what was set aside is given back"
    assert (story.charged > 0) is done, "it is paid for if and only if it can be had"
