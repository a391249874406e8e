"""Rows and objects that differ, as after a restore to an older point."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from api.schemas import video as shown
from cli.main import main
from domain.lifecycle import Stage, State
from runtime.settings import variable_of
from storage import files, outputs, reconciliation, videos
from storage.database import Database
from storage.files import NewFile
from storage.objects import ObjectStore
from storage.outputs import CONTENT_TYPES, Kind, Output
from storage.tables import audit_log
from tests.fixtures.run import RunningStack
from tests.fixtures.videos import World


@pytest.fixture
def store(stack: RunningStack, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A bucket of this test alone, because all of it is listed."""
    at = stack.endpoints
    bucket = f"reconcile-{database_url.rpartition('_')[2]}-{redis_url.rpartition('/')[2]}"
    made = ObjectStore(at.s3_endpoint_url, at.s3_access_key, at.s3_secret_key, bucket, region=at.s3_region)
    made.ensure_bucket()
    for page in made.pages(""):
        made.delete(page)
    named = {"database_url": database_url, "s3_endpoint_url": at.s3_endpoint_url, "s3_bucket": bucket}
    named |= {"s3_access_key": at.s3_access_key, "s3_secret_key": at.s3_secret_key, "s3_region": at.s3_region}
    for name, value in named.items():
        monkeypatch.setenv(variable_of(name), value)
    return made


def completed(world: World, store: ObjectStore, tenant: UUID) -> tuple[UUID, list[str]]:
    video_id = world.queued(tenant)
    world.advance(Stage.RENDER)
    lease = world.must_claim(Stage.PUBLISH)
    made = [Output(kind, outputs.key(lease, kind), CONTENT_TYPES[kind], b"digest", 4) for kind in Kind]
    with world.database.transaction(tenant) as connection:
        assert outputs.register(connection, lease, "output", [each.object_key for each in made])
        outputs.publish(connection, tenant, video_id, made)
    assert world.move(lease, State.COMPLETED)
    for each in made:
        store.put(each.object_key, b"file", each.content_type)
    return video_id, [each.object_key for each in made]


def told(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(row["found"], row["id"].partition("_")[2] or row["id"]) for row in rows]


def error_of(world: World, tenant: UUID, video_id: UUID) -> str | None:
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    error = shown(video).error
    return None if error is None else error.code


def test_what_fits_is_left_alone(world: World, store: ObjectStore, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = world.tenant()
    video_id, keys = completed(world, store, tenant)
    assert main(["objects", "check", "--json"]) == 0
    assert main(["objects", "reconcile", "--json"]) == 0
    assert told(capsys) == []
    assert all(map(store.has, keys))
    assert error_of(world, tenant, video_id) is None


def test_lost_results_say_so_until_they_are_back_and_unknown_objects_go(
    world: World, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = world.tenant()
    (whole, _), (torn, keys) = completed(world, store, tenant), completed(world, store, tenant)
    store.delete(keys[1:2])
    store.put("outputs/of/a/later/time", b"x", "video/mp4")
    store.put("something/else", b"not ours", "text/plain")
    differs = [("unknown object", "outputs/of/a/later/time"), ("objects lost", torn.hex)]

    assert main(["objects", "reconcile", "--dry-run", "--json"]) == 1
    assert told(capsys) == differs
    assert error_of(world, tenant, torn) is None
    assert store.has("outputs/of/a/later/time")

    assert main(["objects", "reconcile", "--json"]) == 0
    assert told(capsys) == differs
    assert (error_of(world, tenant, torn), error_of(world, tenant, whole)) == ("content_lost", None)
    assert not store.has("outputs/of/a/later/time")
    assert store.has("something/else")
    assert main(["objects", "check"]) == 0

    store.put(keys[1], b"file", "image/webp")
    assert main(["objects", "reconcile"]) == 0
    assert error_of(world, tenant, torn) is None
    with world.database.transaction_for_any_tenant() as connection:
        noted = connection.scalars(sa.select(audit_log.c.after).where(audit_log.c.action == "objects.reconciled"))
        assert list(noted) == [{"deleted": 1, "marked": 1}, {"deleted": 0, "marked": 1}]


def test_a_result_that_comes_under_a_stray_key_while_it_looks_is_kept(
    world: World, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = world.tenant()
    completed(world, store, tenant)
    world.queued(tenant)
    rendered = world.advance(Stage.RENDER)
    stray = outputs.key(replace(rendered, fence=rendered.fence + 1), Kind.VIDEO)
    store.put(stray, b"of a later time", "video/mp4")
    look = reconciliation.broken

    def meanwhile(database: Database, store: ObjectStore) -> Iterator[reconciliation.Broken]:
        lease = world.must_claim(Stage.PUBLISH)
        with database.transaction(tenant) as connection:
            assert outputs.register(connection, lease, "output", [stray])
        store.put(stray, b"file", "video/mp4")
        yield from look(database, store)

    monkeypatch.setattr(reconciliation, "broken", meanwhile)
    assert main(["objects", "reconcile"]) == 0
    assert store.read(stray) == b"file"


def test_what_the_documentation_says_after_recovery_is_what_restore_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations" / "backup.md").read_text()
    assert all(f"{statement};" in page for statement in reconciliation.RAISE_FENCES)


def test_a_lost_file_is_told(world: World, store: ObjectStore, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = world.tenant()
    new = NewFile(purpose="batch", filename="in.jsonl", content_type="application/jsonl")
    file = files.write(world.database, store, tenant, new, b"{}", quota_bytes=10**9)
    store.delete([file.object_key])
    assert main(["objects", "check", "--json"]) == 1
    assert told(capsys) == [("objects lost", file.id.hex)]


def test_a_database_that_knows_almost_nothing_deletes_almost_nothing(
    world: World, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    completed(world, store, world.tenant())
    strays = [f"outputs/stray/{number}" for number in range(4)]
    for key in strays:
        store.put(key, b"x", "video/mp4")
    assert main(["objects", "reconcile"]) == 1
    assert "4 of 7 objects are unknown" in capsys.readouterr().err
    assert all(map(store.has, strays))
    assert main(["objects", "reconcile", "--most"]) == 0
    assert not any(map(store.has, strays))


def test_a_bucket_of_more_than_a_page_is_listed_whole(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"drafts/{number:03}" for number in range(5)]
    for key in keys:
        store.put(key, b"x", "video/mp4")
    whole = store._client.list_objects_v2
    monkeypatch.setattr(store._client, "list_objects_v2", lambda **options: whole(**options, MaxKeys=2))
    assert [len(page) for page in store.pages("drafts/")] == [2, 2, 1]
    assert [key for page in store.pages("drafts/") for key in page] == keys
