"""`kinema videos retry` of what was made from an upload, on a real store."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import pytest

from cli.main import main
from domain.ids import Kind, parse, public
from domain.ledger import Meter
from domain.lifecycle import State
from domain.quotas import Period
from runtime.settings import variable_of
from storage import interventions, ledger, outputs, videos
from storage.objects import ObjectStore
from tests.fixtures.run import RunningStack
from tests.fixtures.videos import World
from tests.fixtures.workers import rows

PIXELS = b"a picture"


@pytest.fixture
def without_store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3_endpoint_url", "s3_access_key", "s3_secret_key"):
        monkeypatch.delenv(variable_of(name), raising=False)
    monkeypatch.setenv("KINEMA_DATABASE_URL", database_url)


@pytest.fixture
def store(
    database_url: str, stack: RunningStack, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    at = stack.endpoints
    monkeypatch.setenv("KINEMA_DATABASE_URL", database_url)
    named = {"s3_endpoint_url": at.s3_endpoint_url, "s3_bucket": object_store.bucket, "s3_region": at.s3_region}
    for name, value in (named | {"s3_access_key": at.s3_access_key, "s3_secret_key": at.s3_secret_key}).items():
        monkeypatch.setenv(variable_of(name), value)
    return object_store


def uploaded(world: World, store: ObjectStore, tenant: UUID) -> tuple[str, str]:
    """A cancelled video that has a first frame, whose bytes are still kept: its public id and the key."""
    planned = world.planned()
    key = outputs.input_key(tenant, planned.id, "first_frame.png")
    new = replace(
        planned,
        request=replace(planned.request, first_frame=key),
        plan=replace(planned.plan, first_frame=key),
    )
    store.put(key, PIXELS, "image/png")
    with world.database.transaction(tenant) as connection:
        outputs.register_input(connection, tenant, new.id, key)
        videos.create(connection, tenant, new)
        video = videos.find(connection, tenant, new.id, lock=True)
        assert video is not None
        interventions.end(connection, tenant, video, announce=False)
        outputs.adopt_input(connection, tenant, new.id)
    return public(Kind.VIDEO, new.id), key


def inputs_of(world: World, tenant: UUID, name: str) -> list[str]:
    with world.database.transaction(tenant) as connection:
        return sorted(outputs.inputs(connection, tenant, parse(Kind.VIDEO, name)))


def test_a_retry_takes_a_copy_of_the_first_frame(
    world: World, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = world.tenant()
    name, old_key = uploaded(world, store, tenant)
    assert main(["videos", "retry", name, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["retry_of"], again["state"]) == (name, "received")
    (key,) = inputs_of(world, tenant, again["id"])
    assert key != old_key
    assert store.read(key) == PIXELS
    with world.database.transaction(tenant) as connection:
        new = videos.find(connection, tenant, parse(Kind.VIDEO, again["id"]))
    assert new is not None
    assert new.plan.first_frame == new.request.first_frame == key
    assert inputs_of(world, tenant, name) == [old_key], "the old one keeps its own"


def test_a_refused_retry_leaves_its_copy_to_the_sweeper(
    world: World, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = world.tenant()
    name, old_key = uploaded(world, store, tenant)
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant, Meter.VIDEO_MS, 0, Period.TOTAL)
    assert main(["videos", "retry", name]) == 1
    assert "quota" in capsys.readouterr().err
    doomed = "SELECT key FROM objects WHERE purpose = 'input' AND doomed_at <= clock_timestamp()"
    (copied,) = rows(world.database, doomed)
    assert copied.key != old_key
    assert store.has(copied.key)
    assert len(rows(world.database, "SELECT 1 FROM videos")) == 1


def test_an_upload_that_is_gone_is_a_refusal(
    world: World, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = world.tenant()
    name, key = uploaded(world, store, tenant)
    store.delete([key])
    assert main(["videos", "retry", name]) == 1
    assert "no longer kept" in capsys.readouterr().err
    assert world.state(tenant, parse(Kind.VIDEO, name)) is State.CANCELLED


@pytest.mark.usefixtures("without_store")
def test_the_store_is_asked_for_only_where_something_was_uploaded(
    world: World, object_store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = world.tenant()
    name, _ = uploaded(world, object_store, tenant)
    assert main(["videos", "retry", name]) == 2
    assert variable_of("s3_access_key") in capsys.readouterr().err
    plain = world.create(tenant)
    assert main(["videos", "cancel", public(Kind.VIDEO, plain), "--json"]) == 0
    assert main(["videos", "retry", public(Kind.VIDEO, plain), "--json"]) == 0
