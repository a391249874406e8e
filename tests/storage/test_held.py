from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from cli.main import main
from domain import ids
from domain.lifecycle import Stage, State
from storage import held, housekeeping
from storage.tables import ledger, verdicts, videos
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


def test_a_video_held_after_its_render_gets_time_for_the_decision(world: World) -> None:
    tenant = world.tenant()
    video_id = world.create(tenant)
    world.advance(Stage.SCREEN)
    world.advance(Stage.RENDER)
    lease = world.must_claim(Stage.PUBLISH)
    with world.database.transaction(tenant) as connection:  # it rendered for so long: the hour to wait is over
        past = videos.update().values(
            created_at=videos.c.created_at - timedelta(hours=2),
            queue_deadline=videos.c.queue_deadline - timedelta(hours=2),
        )
        connection.execute(past)
    assert world.move(lease, State.HELD, outcome="held")
    with world.database.transaction_for_any_tenant() as connection:
        assert [each.id for each in held.list_for_any_tenant(connection, 10)] == [video_id]
        assert housekeeping.end_overdue_for_any_tenant(connection, 10) == []
        left = connection.scalar(sa.text("SELECT queue_deadline - clock_timestamp() FROM videos"))
        assert timedelta(minutes=59) < left <= timedelta(minutes=60)
        connection.execute(videos.update().values(queue_deadline=sa.text("clock_timestamp() - interval '1 second'")))
    with world.database.transaction_for_any_tenant() as connection:
        assert housekeeping.end_overdue_for_any_tenant(connection, 10) == [video_id], "nobody decided in time"
    assert world.state(tenant, video_id) is State.EXPIRED
