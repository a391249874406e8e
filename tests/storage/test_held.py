from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa

from cli.main import main
from domain import ids
from domain.lifecycle import Stage, State
from storage import held
from storage.tables import ledger, verdicts
from tests.fixtures.videos import World


def hold(world: World, stage: Stage) -> tuple[UUID, UUID]:
    tenant = world.tenant()
    video_id = world.create(tenant)
    if stage is Stage.PUBLISH:
        world.advance(Stage.SCREEN)
        world.advance(Stage.RENDER)
    assert world.move(world.must_claim(stage), State.HELD, outcome="held")
    return tenant, video_id


@pytest.mark.parametrize(("stage", "after"), [(Stage.SCREEN, State.QUEUED), (Stage.PUBLISH, State.RENDERED)])
def test_an_allowed_video_goes_on_to_where_it_was_going(world: World, stage: Stage, after: State) -> None:
    tenant, video_id = hold(world, stage)
    with world.database.transaction_for_any_tenant() as connection:
        assert [each.id for each in held.list_for_any_tenant(connection, 10)] == [video_id]
        assert held.decide_for_any_tenant(connection, video_id, "allow", "ann") is after
        assert held.decide_for_any_tenant(connection, video_id, "block", "ann") is None
    next_stage = Stage.RENDER if after is State.QUEUED else Stage.PUBLISH
    assert world.must_claim(next_stage).video_id == video_id
    with world.database.transaction(tenant) as connection:
        row = connection.execute(sa.select(verdicts.c.decision, verdicts.c.policy, verdicts.c.model)).one()
    assert tuple(row) == ("allow", "person", "ann")


def test_a_blocked_video_ends_and_costs_nothing(world: World) -> None:
    tenant, video_id = hold(world, Stage.SCREEN)
    with world.database.transaction_for_any_tenant() as connection:
        assert held.decide_for_any_tenant(connection, video_id, "block", "ann") is State.BLOCKED
    with world.database.transaction(tenant) as connection:
        assert connection.scalar(sa.select(sa.func.sum(ledger.c.micros))) == 0


def test_the_command_line_lists_and_decides(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    required = {"DATABASE_URL": database_url, "REDIS_URL": "r", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "s"}
    for name, value in {**required, "KEY_PEPPER": "p", "WEBHOOK_KEY": "A" * 43 + "="}.items():
        monkeypatch.setenv(f"KINEMA_{name}", value)
    tenant, video_id = hold(world, Stage.SCREEN)
    public = ids.public(ids.Kind.VIDEO, video_id)
    assert main(["videos", "held"]) == 0
    assert public in capsys.readouterr().out
    assert main(["videos", "allow", public]) == 0
    assert world.state(tenant, video_id) is State.QUEUED
    assert main(["videos", "allow", public]) == 1
    assert main(["videos", "block", "nonsense"]) == 1
    assert main(["videos", "block"]) == 2
