from __future__ import annotations

import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from domain.errors import NotFound, Unavailable
from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import files, leases, outputs, videos
from storage.objects import ObjectStore
from storage.outputs import Doomed, Kind
from storage.tables import objects
from tests.fixtures.videos import World
from worker.dispatcher import Dispatcher
from worker.pipeline.work import run
from worker.process import Process


def doomed(world: World, object_store: ObjectStore) -> str:
    """An object whose time is up."""
    tenant = world.tenant()
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    key = outputs.drafts_of(lease, lease.fence)[Kind.VIDEO]
    with world.database.transaction(tenant) as connection:
        assert outputs.register(connection, lease, "draft", [key])
        outputs.forget(connection, tenant, lease.video_id)
    object_store.put(key, b"frames", "video/mp4")
    return key


def rows(world: World) -> int:
    with world.database.transaction_for_any_tenant() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(objects)) or 0


def there(store: ObjectStore, key: str) -> bool:
    try:
        store.read(key)
    except NotFound:
        return False
    return True


def test_a_put_that_lands_between_the_two_deletes_leaves_nothing(
    settings: Settings, world: World, object_store: ObjectStore
) -> None:
    key = doomed(world, object_store)
    dispatcher = Dispatcher(replace(settings, sweep_grace_seconds=0.0, sweep_keep_seconds=1.0))
    dispatcher.sweep()
    assert not there(object_store, key)
    assert rows(world) == 1
    object_store.put(key, b"late", "video/mp4")
    dispatcher.sweep()
    assert there(object_store, key), "its time has not come"
    time.sleep(1.1)
    dispatcher.sweep()
    assert not there(object_store, key)
    assert rows(world) == 0
    dispatcher._database.close()


def test_a_sweeper_that_froze_before_its_note_ends_no_row(world: World, object_store: ObjectStore) -> None:
    key = doomed(world, object_store)
    with world.database.transaction_for_any_tenant() as connection:
        frozen = outputs.take_doomed_for_any_tenant(connection, 0, 0.1, 100)
        assert frozen == [Doomed(key, again=False)]
        outputs.swept_for_any_tenant(connection, frozen, 0.1)  # another sweeper, which took it over
    time.sleep(0.2)
    with world.database.transaction_for_any_tenant() as connection:
        outputs.swept_for_any_tenant(connection, frozen, 0.1)
    assert rows(world) == 1
    with world.database.transaction_for_any_tenant() as connection:
        assert outputs.take_doomed_for_any_tenant(connection, 0, 0.1, 100) == [Doomed(key, again=True)]


def test_a_failed_delete_counts_as_none(settings: Settings, world: World, object_store: ObjectStore) -> None:
    doomed(world, object_store)
    away = replace(settings, s3_endpoint_url="http://127.0.0.1:9", sweep_grace_seconds=0.0, sweep_keep_seconds=0.0)
    dispatcher = Dispatcher(away)
    dispatcher._perform(next(each for each in dispatcher._duties if each.perform == dispatcher.sweep))
    with world.database.transaction_for_any_tenant() as connection:
        assert connection.scalar(sa.select(objects.c.swept_at)) is None
    dispatcher._database.close()


def test_a_video_whose_drafts_are_gone_is_rendered_again_once(
    process: Process, world: World, object_store: ObjectStore
) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
    with world.database.transaction(tenant) as connection:
        drafts = list(connection.scalars(sa.select(objects.c.key).where(objects.c.purpose == "draft")))
    object_store.delete(drafts)
    assert run(process, world.must_claim(Stage.PUBLISH)) is State.QUEUED
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
    assert run(process, world.must_claim(Stage.PUBLISH)) is State.COMPLETED
    with world.database.transaction(tenant) as connection:
        ended = [(row["stage"], row["outcome"]) for row in videos.runs(connection, tenant, video_id)]
        assert len(outputs.find(connection, tenant, video_id)) == 3
    assert ended[1:] == [("render", "done"), ("publish", "drafts_gone"), ("render", "done"), ("publish", "done")]


def test_a_store_that_loses_drafts_again_and_again_ends_the_video(world: World) -> None:
    tenant = world.tenant()
    video_id = world.queued(tenant)
    for after in (State.QUEUED, State.FAILED):
        world.advance(Stage.RENDER)
        lease = world.must_claim(Stage.PUBLISH)
        with world.database.transaction(tenant) as connection:
            assert leases.render_again(connection, lease, "publish_failed") is after
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    assert video.error_code == "publish_failed"


def test_nothing_is_rendered_again_for_who_lost_the_lease(world: World) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    world.advance(Stage.RENDER)
    lease = world.must_claim(Stage.PUBLISH)
    assert world.move(lease, State.COMPLETED)
    with world.database.transaction(tenant) as connection:
        assert leases.render_again(connection, lease, "publish_failed") is None


@pytest.mark.parametrize("age", ["59 minutes", "61 minutes"])
def test_bytes_that_waited_too_long_are_not_kept(world: World, age: str) -> None:
    tenant = world.tenant()
    with world.database.transaction(tenant) as connection:
        files.register(connection, tenant, "files/x", 3, 10**9)
        connection.execute(sa.text(f"UPDATE objects SET created_at = created_at - interval '{age}'"))  # noqa: S608 - our own text
        if age == "59 minutes":
            files.adopt(connection, tenant, "files/x", 3, 10**9)
        else:
            with pytest.raises(Unavailable):
                files.adopt(connection, tenant, "files/x", 3, 10**9)
