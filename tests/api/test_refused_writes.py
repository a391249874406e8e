"""Uploads while the object store takes nothing: refused clearly, nothing half done, and taken when it opens again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import OpenAI
from PIL import Image

from api.app import create_app
from domain.lifecycle import State
from runtime.settings import Settings
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.api.stages import FILES, bring
from tests.fixtures.refusing import REFUSALS, Refusing, refusing
from tests.fixtures.videos import World
from worker.dispatcher import Dispatcher

LINE = b'{"custom_id": "1", "method": "POST", "url": "/v1/videos", "body": {"prompt": "a ball"}}'


@pytest.fixture
def way(settings: Settings) -> Iterator[Refusing]:
    with refusing(settings.s3_endpoint_url) as made:
        yield made


@pytest.fixture
def http(settings: Settings, way: Refusing, tenant: Tenant) -> Iterator[TestClient]:
    app = create_app(replace(settings, s3_endpoint_url=way.url))
    with TestClient(app, headers={"authorization": f"Bearer {tenant.key}"}) as client:
        yield client


def upload(http: TestClient) -> Any:
    return http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", LINE)})


def animate(http: TestClient) -> Any:
    picture = BytesIO()
    Image.new("RGB", (720, 1280)).save(picture, "PNG")
    form = {"prompt": (None, "it moves"), "input_reference": ("a.png", picture.getvalue())}
    return http.post("/v1/videos", files=form)


@pytest.mark.parametrize("status", REFUSALS)
def test_uploads_are_refused_and_nothing_else_is(
    http: TestClient, way: Refusing, client: OpenAI, world: World, object_store: ObjectStore, *, status: int
) -> None:
    done = client.videos.create(prompt="a ball")
    bring(world, State.COMPLETED, object_store)
    way.status = status
    for answer in (upload(http), animate(http)):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert (answer.json()["error"]["type"], answer.json()["error"]["code"]) == ("server_error", "unavailable")
        assert REFUSALS[status] in answer.json()["error"]["message"]
    assert http.get("/v1/files").json()["data"] == []
    assert [each["id"] for each in http.get("/v1/videos").json()["data"]] == [done.id]
    assert http.get(f"/v1/videos/{done.id}/content").content in FILES.values(), "reads go on"
    assert http.post("/v1/videos", json={"prompt": "words alone"}).status_code == 200
    way.status = 0
    assert upload(http).status_code == 200
    assert animate(http).status_code == 200
    assert len(http.get("/v1/files").json()["data"]) == 1
    assert len(http.get("/v1/videos").json()["data"]) == 3


def test_what_was_refused_is_swept(
    http: TestClient, way: Refusing, settings: Settings, tenant: Tenant, world: World
) -> None:
    way.status = 507
    assert {upload(http).status_code, animate(http).status_code} == {503}
    way.status = 0
    dispatcher = Dispatcher(replace(settings, sweep_grace_seconds=0.0, sweep_keep_seconds=0.0))
    with world.database.transaction(tenant.id) as connection:
        doomed = connection.execute(sa.text("UPDATE objects SET doomed_at = clock_timestamp()"))  # an hour later
        assert doomed.rowcount == 2
    for _ in range(2):
        while dispatcher.sweep():
            pass
    dispatcher._database.close()
    with world.database.transaction(tenant.id) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM objects WHERE swept_at IS NULL")) == 0
