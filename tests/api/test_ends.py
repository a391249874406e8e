from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import ConflictError, NotFoundError, OpenAI

from domain import ids
from domain.errors import VIDEO_ERRORS
from domain.lifecycle import ACTIVE, Stage, State
from storage.objects import ObjectStore
from storage.outages import OUTAGES
from tests.api.conftest import Tenant
from tests.api.stages import bring, expire
from tests.fixtures.videos import World

ENDS = [State.COMPLETED, State.FAILED, State.BLOCKED, State.EXPIRED]


@pytest.fixture
def video_in(client: OpenAI, world: World, tenant: Tenant, object_store: ObjectStore) -> Callable[[State], str]:
    def make(state: State) -> str:
        video = client.videos.create(prompt="a secret ball")
        if state is State.EXPIRED:
            expire(world, tenant.id, ids.parse(ids.Kind.VIDEO, video.id))
        else:
            bring(world, state, object_store)
        return video.id

    return make


def rows(world: World, tenant: Tenant, statement: str) -> list[tuple[object, ...]]:
    """What the tenant's role sees: the tenant's rows only."""
    with world.database.transaction(tenant.id) as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement)).all()]


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_a_living_video_can_be_cancelled(
    client: OpenAI, world: World, tenant: Tenant, video_in: Callable[..., str], state: State
) -> None:
    video_id = video_in(state)
    cancelled = client.post(f"/videos/{video_id}/cancel", cast_to=object)
    assert cancelled["status"] == "failed"
    video = client.videos.retrieve(video_id)
    assert video.error is not None
    assert (video.status, video.error.code) == ("failed", "cancelled")
    assert (video.to_dict()["stage"], video.prompt) == ("cancelled", "a secret ball")
    assert rows(world, tenant, "SELECT type FROM webhook_messages") == [("video.failed",)]
    assert rows(world, tenant, "SELECT sum(micros)::int FROM ledger") == [(0,)]
    assert rows(world, tenant, "SELECT count(*) FROM attempts WHERE ended_at IS NULL") == [(0,)]
    assert rows(world, tenant, "SELECT coalesce(sum(running), 0)::int FROM tenant_sched") == [(0,)]


def test_cancelling_again_changes_nothing(
    client: OpenAI, world: World, tenant: Tenant, video_in: Callable[..., str]
) -> None:
    video_id = video_in(State.QUEUED)
    answers = [client.post(f"/videos/{video_id}/cancel", cast_to=object) for _ in range(2)]
    assert answers[0] == answers[1]
    assert rows(world, tenant, "SELECT count(*) FROM webhook_messages") == [(1,)]


@pytest.mark.parametrize("state", ENDS)
def test_a_finished_video_cannot_be_cancelled(client: OpenAI, video_in: Callable[..., str], state: State) -> None:
    video_id = video_in(state)
    before = client.videos.retrieve(video_id).to_dict()
    with pytest.raises(ConflictError) as refused:
        client.with_options(max_retries=2).post(f"/videos/{video_id}/cancel", cast_to=object)
    assert refused.value.code == "video_finished"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
    assert client.videos.retrieve(video_id).to_dict() == before


@pytest.mark.parametrize("state", sorted(State))
def test_a_video_can_be_deleted_once_in_every_state(
    client: OpenAI, world: World, tenant: Tenant, video_in: Callable[..., str], state: State
) -> None:
    if state is State.CANCELLED:
        video_id = video_in(State.QUEUED)
        client.post(f"/videos/{video_id}/cancel", cast_to=object)
    else:
        video_id = video_in(state)
    messages = rows(world, tenant, "SELECT count(*) FROM webhook_messages")
    deleted = client.videos.delete(video_id)
    assert deleted.to_dict() == {"id": video_id, "object": "video.deleted", "deleted": True}
    for again in (client.videos.delete, client.videos.retrieve, client.videos.download_content):
        with pytest.raises(NotFoundError):
            again(video_id)
    assert client.videos.list().data == []
    assert rows(world, tenant, "SELECT count(*) FROM webhook_messages") == messages, "a delete sends nothing"
    assert rows(world, tenant, "SELECT request->>'prompt', plan->>'prompt' FROM videos") == [("", "")]
    assert rows(world, tenant, "SELECT count(*) FROM outputs") == [(0,)]
    assert rows(world, tenant, "SELECT count(*) FROM objects WHERE doomed_at IS NULL") == [(0,)]
    assert rows(world, tenant, "SELECT state FROM videos") == [(state if state not in ACTIVE else "cancelled",)]


def test_a_running_render_learns_that_it_lost_its_video(
    client: OpenAI, world: World, video_in: Callable[..., str]
) -> None:
    video_id = video_in(State.QUEUED)
    lease = world.must_claim(Stage.RENDER)
    client.videos.delete(video_id)
    assert not world.move(lease, State.RENDERED)


def test_a_video_whose_frozen_worker_has_its_row_can_be_cancelled_seconds_later(
    http: TestClient, world: World, tenant: Tenant, video_in: Callable[..., str]
) -> None:
    path = f"/v1/videos/{video_in(State.RENDERING)}/cancel"
    with suppress(*OUTAGES), world.database.transaction(tenant.id) as frozen:
        frozen.execute(sa.text("UPDATE videos SET progress = 50 WHERE state = 'rendering'"))
        begun = time.monotonic()
        refused = http.post(path)
        told = time.monotonic() - begun
        while (answer := http.post(path)).status_code == 503 and time.monotonic() < begun + 30:
            pass
        took = time.monotonic() - begun
    print(f"told after {told:.1f} s to try again, cancelled after {took:.1f} s")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert refused.json()["error"]["type"] == "server_error"
    assert "x-should-retry" not in refused.headers
    assert answer.json()["error"]["code"] == "cancelled"
    assert told < 2.0 + 2.0, "a lock is waited for two seconds"
    assert took < 5.0 + 3.0, "a silent transaction is ended after five seconds"


@pytest.mark.parametrize(("state", "code"), [(State.BLOCKED, "moderation_blocked"), (State.EXPIRED, "queue_timeout")])
def test_a_failed_video_says_why(client: OpenAI, video_in: Callable[..., str], state: State, code: str) -> None:
    video = client.videos.retrieve(video_in(state))
    assert video.status == "failed"
    assert video.error is not None
    assert (video.error.code, video.error.message) == (code, VIDEO_ERRORS[code])


def test_polling_ends_with_the_video(client: OpenAI, http: TestClient, video_in: Callable[..., str]) -> None:
    video = client.videos.poll(video_in(State.COMPLETED))
    assert (video.status, video.progress) == ("completed", 100)
    assert video.completed_at is not None
    assert video.expires_at is not None
    assert video.expires_at > video.completed_at
    usage = video.to_dict()["usage"]
    assert usage["charged_micros"] == usage["price_micros"] == 40_000
    assert usage["gpu_ms"] > 0
    assert "openai-poll-after-ms" not in http.get(f"/v1/videos/{video.id}").headers
