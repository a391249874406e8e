from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa

from domain import catalogue
from domain.ids import new_id
from domain.video import Operation, Request, Size
from storage import videos
from tests.fixtures.videos import MODELS, World

CARD = MODELS.find("testcard")


def derive(world: World, tenant_id: UUID, source: UUID | None, operation: Operation = Operation.REMIX) -> UUID:
    request = Request("testcard", "bars", 1, Size(256, 144), operation=operation, source=source)
    plan = catalogue.plan(request, CARD)
    new = videos.NewVideo(new_id(), None, request, plan, CARD.queue, 1, 1, 3600)
    with world.database.transaction(tenant_id) as connection:
        videos.create(connection, tenant_id, new)
    return new.id


def line(world: World, tenant_id: UUID, video_id: UUID) -> list[tuple[UUID, str, bool]]:
    with world.database.transaction(tenant_id) as connection:
        found = videos.ancestry(connection, tenant_id, video_id)
    return [(each.id, str(each.operation), each.deleted) for each in found]


def test_a_line_leads_back_to_its_beginning_though_a_source_is_deleted(world: World) -> None:
    tenant = world.tenant()
    first = derive(world, tenant, None, Operation.CREATE)
    second = derive(world, tenant, first)
    third = derive(world, tenant, second, Operation.EXTEND)
    with world.database.transaction(tenant) as connection:
        assert videos.mark_deleted(connection, tenant, second)
    assert line(world, tenant, third) == [
        (third, "extend", False),
        (second, "remix", True),
        (first, "create", False),
    ]


def test_a_line_is_followed_so_far_and_no_further(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "MOST_ANCESTORS", 3)
    tenant = world.tenant()
    last = None
    for _ in range(5):
        last = derive(world, tenant, last)
    assert last is not None
    assert len(line(world, tenant, last)) == 3


def test_nobody_follows_or_begins_a_line_in_somebody_elses_videos(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    source = derive(world, theirs, None)
    assert line(world, mine, source) == []
    with pytest.raises(sa.exc.IntegrityError):
        derive(world, mine, source)
