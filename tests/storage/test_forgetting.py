"""What is left of a video when its time is over: numbers and history, no words and no files."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.ids import new_id
from domain.lifecycle import TERMINAL, Stage, State
from domain.video import KEPT, Keyframe, Lora, Operation, Plan, Request, Shot, Size
from storage import feedback, housekeeping, outputs, videos
from storage.forgetting import forget
from storage.lifecycle import Move, move
from storage.tables import videos as table
from tests.fixtures.videos import World

SAID = "a secret word"
REQUEST = Request(
    model="testcard",
    prompt=SAID,
    seconds=4,
    size=Size(256, 144),
    seed=7,
    first_frame=SAID,
    metadata={SAID: SAID},
    negative_prompt=SAID,
    style=SAID,
    source_clip=SAID,
    last_frame=SAID,
    mask=SAID,
    keyframes=(Keyframe(1.0, SAID),),
    shots=(Shot(SAID, 4, SAID),),
    loras=(Lora(SAID),),
    character_clips=(SAID,),
    safety_identifier=SAID,
    webhook_url=f"https://example.com/{SAID}",
)
PLAN = Plan(
    model="testcard",
    prompt=SAID,
    seconds=4,
    rendered=Size(128, 72),
    rendered_fps=6,
    delivered=Size(256, 144),
    fps=12,
    seed=7,
    steps=3,
    guidance=1.5,
    negative_prompt=SAID,
    first_frame=SAID,
    style=SAID,
    source_clip=SAID,
    last_frame=SAID,
    mask=SAID,
    keyframes=(Keyframe(1.0, SAID),),
    shots=(Shot(SAID, 4, SAID),),
    loras=(Lora(SAID),),
    characters=(SAID,),
)


def create(world: World, tenant: UUID) -> UUID:
    new = videos.NewVideo(new_id(), None, REQUEST, PLAN, "render.small", 0, 1, 3600)
    with world.database.transaction(tenant) as connection:
        videos.create(connection, tenant, new)
        outputs.register_input(connection, tenant, new.id, f"inputs/{new.id}")
        outputs.adopt_input(connection, tenant, new.id)
        feedback.give(connection, tenant, new.id, new_id(), rating=-1, reason=SAID)
    return new.id


def end(world: World, tenant: UUID, video_id: UUID, after: State) -> None:
    change = Move(tenant, video_id, State.RECEIVED, after, 0)
    with world.database.transaction(tenant) as connection:
        assert move(connection, change)


def row(world: World, tenant: UUID) -> dict[str, Any]:
    with world.database.transaction(tenant) as connection:
        return dict(connection.execute(sa.select(table)).mappings().one())


def test_every_word_is_in_the_sample() -> None:
    """So that the tests below see a new parameter too."""
    numbers = {"seconds", "source_seconds", "strength", "motion_intensity", "steps", "guidance", "fps", "priority"}
    for value, kinds in ((REQUEST, Request), (PLAN, Plan)):
        plain = {field.name for field in fields(kinds) if SAID not in repr(getattr(value, field.name))}
        chosen = {"model", "size", "seed", "operation", "source", "characters", "rendered", "delivered", "rendered_fps"}
        assert plain <= numbers | chosen, "a parameter that is neither a number nor forgotten"


def test_nothing_that_was_written_or_uploaded_survives(world: World) -> None:
    tenant = world.tenant()
    video_id = create(world, tenant)
    with world.database.transaction(tenant) as connection:
        assert forget(connection, tenant, video_id)
        assert not forget(connection, tenant, video_id)
    left = row(world, tenant)
    assert SAID not in repr(left)
    with world.database.transaction(tenant) as connection:
        (rating,) = feedback.of_video(connection, tenant, video_id)
        assert (rating.rating, rating.reason) == (-1, None)
        assert connection.scalar(sa.text("SELECT count(*) FROM objects WHERE doomed_at IS NULL")) == 0
        assert [event["type"] for event in videos.history(connection, tenant, video_id)] == ["received"]
        assert connection.scalar(sa.text("SELECT count(*) FROM ledger")) == 1


def test_sizes_and_numbers_stay_and_can_still_be_read(world: World) -> None:
    tenant = world.tenant()
    video_id = create(world, tenant)
    with world.database.transaction(tenant) as connection:
        forget(connection, tenant, video_id)
    left = row(world, tenant)
    assert set(left["request"]) | set(left["plan"]) <= KEPT | {"prompt"}
    request, plan = Request.from_json(left["request"]), Plan.from_json(left["plan"])
    assert (request.prompt, request.seconds, request.size, request.seed) == ("", 4, Size(256, 144), 7)
    assert (plan.prompt, plan.rendered, plan.steps, plan.operation) == ("", Size(128, 72), 3, Operation.CREATE)


@pytest.mark.parametrize("after", [State.FAILED, State.CANCELLED, State.EXPIRED])
def test_a_video_without_a_result_is_forgotten_too(world: World, after: State) -> None:
    tenant = world.tenant()
    video_id = create(world, tenant)
    end(world, tenant, video_id, after)
    ended = row(world, tenant)
    assert ended["expires_at"] - ended["completed_at"] < timedelta(days=1, seconds=1)
    with world.database.transaction_for_any_tenant() as connection:
        assert housekeeping.forget_expired_for_any_tenant(connection, 10) == []
        connection.execute(sa.update(table).values(expires_at=sa.func.now()))
        assert housekeeping.forget_expired_for_any_tenant(connection, 10) == [video_id]
    assert SAID not in repr(row(world, tenant))


def test_every_end_has_its_time(world: World) -> None:
    tenant = world.tenant()
    for state in sorted(TERMINAL):
        video_id = world.create(tenant)
        if state is State.COMPLETED:
            for stage in Stage:
                world.advance(stage)
        elif state is State.BLOCKED:
            assert world.move(world.must_claim(Stage.SCREEN), state)
        else:
            end(world, tenant, video_id, state)
        with world.database.transaction(tenant) as connection:
            video = videos.find(connection, tenant, video_id)
        assert video is not None
        assert video.state is state
        assert video.expires_at is not None, state


def test_who_comes_after_the_time_finds_nothing_even_before_the_sweeper(world: World) -> None:
    tenant = world.tenant()
    video_id = world.create(tenant)
    end(world, tenant, video_id, State.FAILED)
    with world.database.transaction(tenant) as connection:
        assert videos.find(connection, tenant, video_id) is not None
        assert len(videos.page(connection, tenant, after=None, limit=10, order="asc").videos) == 1
        connection.execute(sa.update(table).values(expires_at=sa.func.clock_timestamp()))
        assert videos.find(connection, tenant, video_id) is None
        assert videos.page(connection, tenant, after=None, limit=10, order="asc").videos == ()
