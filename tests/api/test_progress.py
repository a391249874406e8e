"""What a waiting client sees: status, progress, position, ETA, and when to ask again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openai import OpenAI

from domain import ids
from domain.lifecycle import Stage, State
from storage import leases, workers
from tests.api.conftest import Tenant
from tests.api.stages import bring
from tests.fixtures.videos import QUEUES, World


@pytest.fixture
def app(fresh_app: TestClient) -> TestClient:
    return fresh_app


def snapshot(world: World, renderers: int) -> None:
    """What the dispatcher writes every two seconds."""
    queue = QUEUES[Stage.RENDER]
    with world.database.transaction_for_any_tenant() as connection:
        for number in range(renderers):
            worker = workers.Worker(f"w{number}", (queue,), "host", number)
            workers.beat_for_any_tenant(connection, worker, "busy")
        workers.snapshot_for_any_tenant(connection, queue)


def test_without_a_dispatcher_nothing_is_invented(client: OpenAI, http: TestClient) -> None:
    video = client.videos.create(prompt="a ball").to_dict()
    assert (video["queue_position"], video["eta"]) == (None, None)
    assert http.get(f"/v1/videos/{video['id']}").headers["openai-poll-after-ms"] == "1000"


def test_a_tenant_waits_its_turn_and_not_behind_everything(
    client_of: Callable[..., OpenAI], new_tenant: Callable[[str], Tenant], world: World
) -> None:
    greedy, modest = new_tenant("greedy"), new_tenant("modest")
    for _ in range(9):
        world.queued(greedy.id)
    for _ in range(2):
        world.queued(modest.id)
    snapshot(world, renderers=2)
    client = client_of(modest)
    newest, oldest = (client.videos.retrieve(video.id).to_dict() for video in client.videos.list().data)
    assert oldest["queue_position"] == 0
    assert newest["queue_position"] == 2, "one of its own, one of the other tenant's nine"
    assert newest["eta"] > 0
    late = client_of(greedy).videos.create(prompt="a ball").to_dict()
    assert late["queue_position"] == 9 + 2, "screening does not hide those ahead of it"


def test_without_a_renderer_there_is_a_position_but_no_eta(client: OpenAI, world: World) -> None:
    snapshot(world, renderers=0)
    video = client.videos.create(prompt="a ball").to_dict()
    assert (video["queue_position"], video["eta"]) == (0, None)


def test_a_long_wait_is_polled_rarely(http: TestClient, world: World, tenant: Tenant) -> None:
    for _ in range(40):
        world.create(tenant.id, seconds=12)
    snapshot(world, renderers=1)
    answer = http.post("/v1/videos", json={"prompt": "a ball"})
    eta = answer.json()["eta"]
    assert eta > 200
    assert int(answer.headers["openai-poll-after-ms"]) == 15_000


def test_a_running_video_tells_how_far_it_is(client: OpenAI, world: World, tenant: Tenant, http: TestClient) -> None:
    video_id = ids.parse(ids.Kind.VIDEO, client.videos.create(prompt="a ball").id)
    world.advance(Stage.SCREEN)
    lease = world.must_claim(Stage.RENDER)
    step: dict[str, Any] = {"phase": "denoise", "done": 3, "total": 8}
    with world.database.transaction(tenant.id) as connection:
        assert leases.renew(connection, lease, 30, 37, step)
    answer = http.get(f"/v1/videos/{ids.public(ids.Kind.VIDEO, video_id)}")
    video = answer.json()
    assert (video["status"], video["progress"], video["queue_position"]) == ("in_progress", 37, None)
    assert 0 <= video["eta"] < 60
    assert 500 <= int(answer.headers["openai-poll-after-ms"]) <= 15_000


def test_a_held_video_promises_nothing(client: OpenAI, world: World) -> None:
    video = client.videos.create(prompt="a ball")
    bring(world, State.HELD)
    snapshot(world, renderers=1)
    held = client.videos.retrieve(video.id).to_dict()
    assert (held["queue_position"], held["eta"]) == (None, None)
