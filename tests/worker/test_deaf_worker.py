"""A worker for which alone Valkey is a black hole: the others go on, it ends, its supervisor starts another."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from domain.lifecycle import Stage
from infra.embedded.process import Program
from infra.embedded.supervisor import Supervisor
from runtime.settings import Secret, Settings
from tests.chaos.proxy import CALM, FaultProxy, Temper
from tests.fixtures.videos import QUEUES, World
from tests.fixtures.workers import ROOT, command, dispatching, environment, rows, worker
from worker.deafness import LOOKS, leaving_seconds

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

AT_WORK = "SELECT worker FROM attempts WHERE stage = 'render' AND ended_at IS NULL"
IDLE = "SELECT pid FROM workers WHERE queues = ARRAY['render.small'] AND state = 'idle'"


def test_a_deaf_worker_ends_and_is_started_again_while_another_goes_on(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    deaf = 20.0
    at = urlsplit(str(settings.redis_url))
    assert at.port
    proxy = FaultProxy(at.port)
    quick = replace(settings, testcard_step_seconds=0.1, hint_seconds=0.2, deaf_seconds=deaf)
    behind = replace(quick, redis_url=Secret(str(settings.redis_url).replace(f":{at.port}/", f":{proxy.port}/")))
    tenant = world.tenant(render_cap=4)
    supervisor = Supervisor(tmp_path / "data")
    program = Program("deaf", command(QUEUES[Stage.RENDER]), environment(behind), tmp_path / "deaf.log", ROOT)
    try:
        with dispatching(quick), worker(quick, QUEUES[Stage.RENDER], tmp_path) as healthy:
            supervisor.start([program])
            watch(supervisor, lambda: len(rows(world.database, IDLE)) == 2, 90)
            (first,) = supervisor.processes()["deaf"]
            proxy.behave(Temper(swallows=True))
            begun = time.monotonic()
            world.queued(tenant, steps=10_000)  # the healthy one hears of it, and is busy from then on
            watch(supervisor, lambda: len(rows(world.database, AT_WORK)) == 1, 30)
            (busy,) = rows(world.database, AT_WORK)
            waiting = world.queued(tenant, steps=10)
            watch(supervisor, lambda: supervisor.processes()["deaf"] not in ([], [first]), 90)
            took = time.monotonic() - begun
            assert rows(world.database, AT_WORK) == [busy], "the healthy one goes on"
            assert healthy.process.poll() is None
            proxy.behave(CALM)
            watch(supervisor, lambda: world.state(tenant, waiting) == "rendered", 90)
            print(f"ended and started again {took:.1f} s after the black hole, with a patience of {deaf} s;")
            print(f"the waiting video is rendered after {time.monotonic() - begun:.1f} s")
            # With the default patience of 60 s, and a grace of 15 s, this is 60 * 7 / 6 + 21 s and a little at most.
            assert took <= deaf * (1 + 1 / LOOKS) + leaving_seconds(quick.grace_seconds) + 8
    finally:
        proxy.behave(CALM)
        supervisor.kill()


def watch(supervisor: Supervisor, condition: object, within: float) -> None:
    """As the supervisor's own loop, until the condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        supervisor.restart_dead()
        time.sleep(0.05)
