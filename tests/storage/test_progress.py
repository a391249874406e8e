from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from domain.ids import new_id
from domain.lifecycle import Stage, State
from storage import progress, videos
from tests.fixtures.videos import World


def ahead(world: World, tenant: UUID, video_id: UUID) -> int:
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
        assert video is not None
        return videos.ahead(connection, tenant, video, 100)


def ranks(world: World, asked: list[UUID], limit: int = 100) -> dict[UUID, int]:
    with world.database.transaction_for_any_tenant() as connection:
        return {each.video_id: each.own for each in progress.ranks_for_any_tenant(connection, asked, limit)}


def test_events_are_followed_from_where_each_video_is_known(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    first, second = world.queued(mine), world.create(theirs)
    with world.database.transaction_for_any_tenant() as connection:
        found = progress.follow_for_any_tenant(connection, {first: 1, second: 1, new_id(): 0})
    events = {each.video_id: [(event.seq, event.type) for event in each.events] for each in found}
    assert events == {first: [(2, "screening"), (3, "queued")], second: []}
    assert [each.gone for each in found] == [False, False]


def test_what_is_deleted_or_expired_is_gone(world: World) -> None:
    tenant = world.tenant()
    first, second = world.create(tenant), world.create(tenant)
    with world.database.transaction(tenant) as connection:
        assert videos.mark_deleted(connection, tenant, first)
        connection.execute(sa.text("UPDATE videos SET expires_at = now() WHERE id = :id"), {"id": second})
    with world.database.transaction_for_any_tenant() as connection:
        assert [each.gone for each in progress.follow_for_any_tenant(connection, {first: 1, second: 1})] == [True, True]


def test_the_places_of_many_are_those_of_each(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    made = [world.queued(mine), world.queued(theirs), world.create(mine), world.create(mine, priority=1)]
    made += [world.create(theirs), world.create(mine)]
    owners = [mine, theirs, mine, mine, theirs, mine]
    expected = {video: ahead(world, owner, video) for owner, video in zip(owners, made, strict=True)}
    assert ranks(world, made) == expected
    assert sorted(expected.values()) == [0, 0, 1, 1, 2, 3]
    assert max(ranks(world, made, limit=2).values()) == 2


def test_who_waits_no_more_has_no_place(world: World) -> None:
    tenant = world.tenant()
    rendering, waiting = world.queued(tenant), world.queued(tenant)
    assert world.must_claim(Stage.RENDER).video_id == rendering
    assert ranks(world, [rendering, waiting]) == {waiting: 0}


def test_a_keys_life_is_asked_of_the_key_and_its_tenant(world: World) -> None:
    tenant = world.tenant()
    key, other = new_id(), new_id()
    add = sa.text(
        "INSERT INTO api_keys (id, tenant_id, name, digest, pepper_id, hint)"
        " VALUES (:id, :tenant, '', :digest, '1', '')"
    )
    with world.database.transaction_for_any_tenant() as connection:
        for each in (key, other):
            connection.execute(add, {"id": each, "tenant": tenant, "digest": each.bytes})
        connection.execute(sa.text("UPDATE api_keys SET revoked_at = now() WHERE id = :id"), {"id": other})
        assert progress.living_keys_for_any_tenant(connection, {key, other, new_id()}) == {key}
        narrow = sa.text("UPDATE api_keys SET scopes = CAST(:scopes AS text[]) WHERE id = :id")
        for scopes, good in (("{videos:read,usage}", {key}), ("{videos:write}", set()), ("{}", {key})):
            connection.execute(narrow, {"id": key, "scopes": scopes})
            assert progress.living_keys_for_any_tenant(connection, {key}) == good
        connection.execute(sa.text("UPDATE tenants SET disabled_at = now()"))
        assert progress.living_keys_for_any_tenant(connection, {key, other}) == frozenset()


def test_the_newest_event_of_a_video_is_its_tenants_business(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    video_id = world.queued(mine)
    assert world.state(mine, video_id) is State.QUEUED
    for tenant, expected in ((mine, 3), (theirs, 0)):
        with world.database.transaction(tenant) as connection:
            assert progress.last_event(connection, tenant, video_id) == expected
