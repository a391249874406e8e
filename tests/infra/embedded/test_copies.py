"""Copies of a database and the way back, on a database of this test alone."""

from __future__ import annotations

import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import Composable

from domain.ids import new_id
from domain.lifecycle import Stage, State
from infra.embedded import copies
from infra.embedded.credentials import Credentials
from infra.embedded.stack import Endpoints
from storage import leases, outputs, videos
from storage.database import Database
from storage.objects import ObjectStore
from tests.fixtures.run import RunningStack
from tests.fixtures.videos import World


@pytest.fixture
def at(stack: RunningStack, owner_url: str) -> Endpoints:
    """The running servers, with the database of this test in the place of Kinema's."""
    return replace(stack.endpoints, owner_database_url=owner_url)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that has secrets, as `kinema up` draws them."""
    Credentials.of(tmp_path / "data")
    return tmp_path / "data"


def backup(data: Path, at: Endpoints) -> Path:
    copies.make(data, at, data / "copy", with_objects=False)
    return data / "copy"


def fence_of(world: World, tenant: UUID, video_id: UUID) -> int:
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    return video.fence


def test_no_fence_is_given_out_twice_however_often_a_copy_is_restored(
    world: World, at: Endpoints, data: Path, database_url: str
) -> None:
    tenant = world.tenant()
    rendered = world.queued(tenant)
    world.advance(Stage.RENDER)
    running = world.queued(tenant)
    world.must_claim(Stage.RENDER, lease_seconds=0.0)
    copy = backup(data, at)
    later = {world.advance(Stage.PUBLISH).fence}
    before = fence_of(world, tenant, running)

    for _ in range(2):
        copies.restore_database(copy, at)
        with closing(Database(database_url)) as database:
            restored = World(database)
            assert restored.state(tenant, rendered) is State.RENDERED
            again = restored.must_claim(Stage.PUBLISH).fence
            assert again > max(later)
            later.add(again)
            assert fence_of(restored, tenant, running) > before + 1000
            with database.transaction_for_any_tenant() as connection:
                assert [each.video_id for each in leases.reap_for_any_tenant(connection, 10)] == [running]
            assert restored.state(tenant, running) is State.QUEUED


def test_a_crash_before_the_copy_is_in_place_leaves_the_database_that_was_there(
    world: World, at: Endpoints, data: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = backup(data, at)
    since = world.tenant("since the backup")
    video_id = world.queued(since)
    execute: Any = psycopg.Connection.execute

    def crashing(connection: psycopg.Connection, query: Any, *rest: Any) -> Any:
        text = query.as_string(connection) if isinstance(query, Composable) else str(query)
        if "_restoring" in text and "RENAME" in text:
            raise KeyboardInterrupt
        return execute(connection, query, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", crashing)
        with pytest.raises(KeyboardInterrupt):
            copies.restore_database(copy, at)
    with closing(Database(database_url)) as database:
        assert World(database).state(since, video_id) is State.QUEUED
    copies.restore_database(copy, at)
    with psycopg.connect(at.owner_database_url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (0,)
        beside = "SELECT datname FROM pg_database WHERE datname LIKE current_database() || '\\_%'"
        assert connection.execute(beside).fetchall() == []


def test_the_objects_of_a_copy_are_those_that_its_database_names(
    world: World, at: Endpoints, data: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, video_id = world.tenant(), new_id()
    kept, later = (outputs.input_key(tenant, video_id, name) for name in ("kept", "later"))
    for key in (kept, later):
        object_store.put(key, b"picture", "image/png")
    write_down(world, tenant, video_id, kept)
    run: Any = subprocess.run

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        dumped = run(*arguments, **options)
        with world.database.transaction(tenant) as connection:
            outputs.abandon_inputs(connection, tenant, video_id)
        write_down(world, tenant, new_id(), later)
        return dumped

    monkeypatch.setattr(subprocess, "run", meanwhile)
    copies.make(data, replace(at, s3_bucket=object_store.bucket), data / "copy", with_objects=True)
    copied = (path for path in (data / "copy" / "objects").rglob("*") if path.is_file())
    assert [path.relative_to(data / "copy" / "objects").as_posix() for path in copied] == [kept]


def write_down(world: World, tenant: UUID, video_id: UUID, key: str) -> None:
    with world.database.transaction(tenant) as connection:
        outputs.register_input(connection, tenant, video_id, key)
        outputs.adopt_input(connection, tenant, video_id)
