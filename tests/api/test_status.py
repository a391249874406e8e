from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage import workers
from storage.workers import Worker
from tests.api.conftest import Tenant
from tests.api.test_moderations import Stranger, asking, stranger
from tests.fixtures.videos import World

__all__ = ["asking", "stranger"]

POOL = "render.small"
QUEUES = ("screen", "publish", "deliver", POOL)


def staffed(world: World, *queues: str) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        workers.beat_for_any_tenant(connection, Worker("w1", queues, "host", 1), "idle")
        workers.snapshot_for_any_tenant(connection, POOL)


def look(client: TestClient) -> dict[str, Any]:
    response = client.get("/status", headers={"authorization": ""})
    assert response.status_code == 200
    return response.json()


def test_a_service_that_works_says_so_to_anybody(
    world: World, stranger: Stranger, asking: Callable[..., TestClient]
) -> None:
    staffed(world, *QUEUES)
    shown = look(asking(f"http://127.0.0.1:{stranger.server_port}"))
    assert shown["status"] == "up"
    assert set(shown["components"].values()) == {"up"}
    assert {model["status"] for model in shown["models"]} == {"up"}
    assert {model["wait_seconds"] for model in shown["models"]} == {0}
    assert abs(shown["checked_at"] - time.time()) < 10


@pytest.mark.parametrize(
    ("missing", "part"), [("screen", "screening"), ("publish", "publishing"), ("deliver", "webhooks")]
)
def test_a_stage_that_nobody_serves_is_degraded(missing: str, part: str, world: World, fresh_app: TestClient) -> None:
    staffed(world, *(queue for queue in QUEUES if queue != missing))
    shown = look(fresh_app)
    assert shown["status"] == "degraded"
    assert shown["components"][part] == "degraded"
    assert shown["components"]["moderation"] == "degraded", "nothing listens there in these tests"
    assert shown["components"]["database"] == "up"


def test_a_model_that_nobody_renders_is_degraded(world: World, fresh_app: TestClient) -> None:
    staffed(world, "screen", "publish", "deliver")
    models = look(fresh_app)["models"]
    assert models
    assert all(model == {"id": model["id"], "status": "degraded", "wait_seconds": None} for model in models)


def test_the_wait_grows_with_the_queue_and_names_no_tenant(world: World, tenant: Tenant, fresh_app: TestClient) -> None:
    for _ in range(3):
        world.queued(tenant.id)
    staffed(world, *QUEUES)
    shown = look(fresh_app)
    assert all(model["wait_seconds"] > 0 for model in shown["models"])
    assert tenant.id.hex not in str(shown)
    assert set(shown) == {"status", "checked_at", "components", "models"}


def test_the_answer_is_remembered_for_a_moment(world: World, fresh_app: TestClient) -> None:
    before = look(fresh_app)
    staffed(world, *QUEUES)
    assert look(fresh_app) == before
    deadline = time.monotonic() + 10
    while look(fresh_app) == before:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert look(fresh_app)["components"]["screening"] == "up"
