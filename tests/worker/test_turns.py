from __future__ import annotations

from domain.lifecycle import Stage
from tests.fixtures.videos import QUEUES, World
from worker.pipeline.work import claim_in_turn
from worker.process import Process


def test_a_backlog_to_screen_does_not_keep_publishing_waiting(process: Process, world: World) -> None:
    tenant = world.tenant()
    for _ in range(2):
        world.queued(tenant)
        world.advance(Stage.RENDER)
    for _ in range(4):
        world.create(tenant)
    turns = [QUEUES[Stage.SCREEN], QUEUES[Stage.PUBLISH]]
    claimed = [claim_in_turn(process, turns) for _ in range(7)]
    assert [lease and lease.stage for lease in claimed] == [
        Stage.SCREEN,
        Stage.PUBLISH,
        Stage.SCREEN,
        Stage.PUBLISH,
        Stage.SCREEN,
        Stage.SCREEN,
        None,
    ]
