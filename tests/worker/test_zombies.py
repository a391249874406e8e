"""Workers that freeze after their last step, and wake when their videos are somebody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from domain.errors import NotFound
from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import leases, outputs
from storage.outputs import Kind
from storage.schedule import Lease
from tests.fixtures.videos import World
from tests.fixtures.workers import ROOT, environment, rows
from tests.worker.zombies import AT_ONCE
from worker.dispatcher import Dispatcher
from worker.pipeline.work import run
from worker.process import Process

# In which stage they freeze, and whether they wake while the next worker is at it, or when all is over.
ROUNDS = [(Stage.RENDER, True), (Stage.PUBLISH, True), (Stage.RENDER, False), (Stage.PUBLISH, False)]


class Zombies:
    """The program of `tests.worker.zombies`, and how to freeze it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def freeze_in(self, stage: Stage) -> None:
        assert self._say(stage.value) == "stopped\n"
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> list[str | None]:
        """What became of their finishes."""
        self._process.send_signal(signal.SIGCONT)
        return list(json.loads(self._say("go")))

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def zombies(settings: Settings) -> Iterator[Zombies]:
    command = [sys.executable, "-m", "tests.worker.zombies"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Zombies(process)
        finally:
            os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_finishes_of_lost_leases_are_all_refused(process: Process, settings: Settings, world: World) -> None:
    refused, begun = 0, time.monotonic()
    with zombies(settings) as risen:
        for stage, meanwhile in [*ROUNDS, ROUNDS[0]]:
            refused += freeze_and_wake(process, world, risen, stage, meanwhile=meanwhile)
    assert refused == 5 * AT_ONCE
    orphans = "SELECT count(*) FROM objects b WHERE NOT EXISTS (SELECT FROM outputs o WHERE o.object_key = b.key)"
    assert rows(world.database, orphans)[0][0] == 0
    print(f"{refused} of {5 * AT_ONCE} finishes refused, no second result, in {time.monotonic() - begun:.0f} s")


def freeze_and_wake(process: Process, world: World, risen: Zombies, stage: Stage, *, meanwhile: bool) -> int:
    """Ten at a time: how many finishes were refused."""
    tenant = world.tenant("ten", render_cap=AT_ONCE)
    for _ in range(AT_ONCE):
        world.queued(tenant)
    if stage is Stage.PUBLISH:
        finish(process, world, Stage.RENDER)
    risen.freeze_in(stage)
    held = "SELECT id, fence FROM videos WHERE tenant_id = :tenant AND state IN ('rendering', 'publishing')"
    lost = {row.id: row.fence for row in rows(world.database, held, tenant=tenant)}
    reap(world)
    taken = [world.must_claim(stage, "next") for _ in range(AT_ONCE)]
    keys = [key for lease in taken for key in put_by(lease, lost[lease.video_id])]
    assert all(map(process.store.read, keys)), "what they made lies in the store"
    ends = risen.wake() if meanwhile else []
    assert [run(process, lease) for lease in taken] == [AFTER[stage]] * AT_ONCE
    if stage is Stage.RENDER:
        finish(process, world, Stage.PUBLISH)
    ends += [] if meanwhile else risen.wake()
    assert_one_result_each(process, world, taken)
    sweep(process.settings)
    assert_gone(process, keys)
    return ends.count(None)


AFTER = {Stage.RENDER: State.RENDERED, Stage.PUBLISH: State.COMPLETED}


def finish(process: Process, world: World, stage: Stage) -> None:
    for _ in range(AT_ONCE):
        assert run(process, world.must_claim(stage)) is AFTER[stage]


def reap(world: World) -> None:
    """Wait until the leases of all ten are over."""
    deadline, left = time.monotonic() + 20, AT_ONCE
    while left:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        with world.database.transaction_for_any_tenant() as connection:
            left -= len(leases.reap_for_any_tenant(connection, 100))


def put_by(lease: Lease, fence: int) -> list[str]:
    """The keys that an earlier holder of the same lease had."""
    if lease.stage is Stage.RENDER:
        return [*outputs.drafts_of(lease, fence).values()]
    return [outputs.key(replace(lease, fence=fence), kind) for kind in Kind]


def assert_one_result_each(process: Process, world: World, taken: list[Lease]) -> None:
    for lease in taken:
        with world.database.transaction(lease.tenant_id) as connection:
            found = outputs.find(connection, lease.tenant_id, lease.video_id)
        assert set(found) == set(Kind)
        assert all(process.store.read(output.object_key) for output in found.values())
    ended = "SELECT video_id FROM events WHERE type = 'completed' AND video_id = ANY(:ids)"
    assert len(rows(world.database, ended, ids=[lease.video_id for lease in taken])) == AT_ONCE


def sweep(settings: Settings) -> None:
    """As the dispatcher does it, twice, without its patience."""
    dispatcher = Dispatcher(replace(settings, sweep_grace_seconds=0.0, sweep_keep_seconds=0.0))
    for _ in range(3):
        dispatcher.sweep()
    dispatcher._database.close()


def assert_gone(process: Process, keys: list[str]) -> None:
    for key in keys:
        with pytest.raises(NotFound):
            process.store.read(key)
