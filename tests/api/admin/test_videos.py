from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from openai import OpenAI
from PIL import Image

from domain.administration import Role
from domain.ids import Kind, parse, public
from domain.lifecycle import Stage, State
from storage import workers
from storage.database import Database
from storage.objects import ObjectStore
from storage.workers import Worker
from tests.api.admin.conftest import Admin
from tests.api.conftest import Tenant
from tests.fixtures.videos import World

MISSING = public(Kind.VIDEO, UUID(int=1))  # the same in every process that collects


@pytest.fixture
def video(client: OpenAI) -> str:
    return client.videos.create(prompt="a secret garden", seconds="4", size="1280x720").id


def tenant_id(tenant: Tenant) -> str:
    return public(Kind.TENANT, tenant.id)


def test_videos_of_all_tenants_are_listed_and_filtered(
    admin: Admin, client_of: Callable[..., OpenAI], new_tenant: Callable[[str], Tenant]
) -> None:
    since = int(time.time())
    alice, bob = new_tenant("alice"), new_tenant("bob")
    made = [client_of(each).videos.create(prompt="a ball").id for each in (alice, bob, alice)]
    client_of(alice).post(f"/videos/{made[0]}/cancel", cast_to=object)

    def ids(**wanted: Any) -> list[str]:
        return [each["id"] for each in admin("GET", "/videos", params={"since": since, **wanted})["data"]]

    assert set(made) <= set(ids(limit=100))
    assert ids(tenant=tenant_id(alice)) == [made[2], made[0]]
    assert ids(tenant=tenant_id(alice), state="cancelled") == [made[0]]
    assert ids(tenant=tenant_id(alice), error="cancelled") == [made[0]]
    assert ids(tenant=tenant_id(bob), model="kinema-dit") == [made[1]], "the resolved name"
    assert ids(tenant=tenant_id(bob), model="sora-2") == [made[1]], "the name as asked"
    assert ids(tenant=tenant_id(bob), model="other") == []
    assert ids(tenant=tenant_id(bob), until=since - 1) == []
    first = admin("GET", "/videos", params={"tenant": tenant_id(alice), "limit": 1})
    assert (first["has_more"], ids(tenant=tenant_id(alice), after=first["last_id"])) == (True, [made[0]])
    assert admin.refused("GET", "/videos?state=lost", 400)["param"] == "state"


def test_a_video_tells_its_whole_story(admin: Admin, video: str, tenant: Tenant, database: Database) -> None:
    world = World(database)
    for stage in Stage:
        world.advance(stage)
    told = admin("GET", f"/videos/{video}")
    assert (told["object"], told["state"], told["tenant_id"]) == ("admin.video", "completed", tenant_id(tenant))
    assert told["prompt"] == told["request"]["prompt"] == "a secret garden"
    assert told["events"][0]["type"] == "received"
    assert told["events"][-1]["type"] == "completed"
    assert [each["seq"] for each in told["events"]] == list(range(1, len(told["events"]) + 1))
    assert [(each["stage"], each["outcome"]) for each in told["attempts"]] == [
        ("screen", "done"),
        ("render", "done"),
        ("publish", "done"),
    ]
    assert {each["kind"] for each in told["ledger"]} >= {"hold", "release", "charge"}
    assert (told["lineage"], told["deliveries"], told["verdicts"]) == ([], [], [])


def test_who_may_not_read_prompts_sees_all_but_them(
    app: TestClient, key_of: Callable[[Role], str], video: str, tenant: Tenant
) -> None:
    for role, shown in ((Role.VIEWER, None), (Role.OPERATOR, None), (Role.MODERATOR, "a secret garden")):
        caller = Admin(app, key_of(role))
        told = caller("GET", f"/videos/{video}")
        listed = caller("GET", "/videos", params={"tenant": tenant_id(tenant)})
        assert told["prompt"] == listed["data"][0]["prompt"] == shown
        assert ("secret" in str(told)) == ("secret" in str(listed)) == (shown is not None)


def test_a_video_is_cancelled_once_and_a_finished_one_is_not(admin: Admin, client: OpenAI, video: str) -> None:
    assert admin("POST", f"/videos/{video}/cancel")["state"] == "cancelled"
    assert admin("POST", f"/videos/{video}/cancel")["state"] == "cancelled"
    seen = client.videos.retrieve(video)
    assert (seen.status, seen.error and seen.error.code) == ("failed", "cancelled")
    log = admin("GET", "/audit", params={"target": video})["data"]
    assert [(each["action"], each["before"], each["after"]) for each in log] == [
        ("video.cancelled", {"state": "received"}, {"state": "cancelled"})
    ]


def test_a_deleted_video_is_gone_for_its_owner_and_only_bones_are_left_here(
    admin: Admin, http: TestClient, video: str
) -> None:
    assert admin("DELETE", f"/videos/{video}") == {"id": video, "object": "video.deleted", "deleted": True}
    assert http.get(f"/v1/videos/{video}").status_code == 404
    told = admin("GET", f"/videos/{video}")
    assert (told["state"], told["prompt"]) == ("cancelled", None)
    assert told["deleted_at"] is not None
    assert "secret" not in str(told)
    assert admin.refused("DELETE", f"/videos/{video}", 404)["code"] == "video_not_found"
    assert admin.refused("POST", f"/videos/{video}/retry", 404)["code"] == "video_not_found"


def test_a_retry_is_a_new_video_of_the_same_request_and_owner(
    admin: Admin, client: OpenAI, video: str, tenant: Tenant, database: Database
) -> None:
    assert admin.refused("POST", f"/videos/{video}/retry", 409)["code"] == "video_not_finished"
    admin("POST", f"/videos/{video}/cancel")
    new = admin("POST", f"/videos/{video}/retry")
    assert (new["retry_of"], new["state"], new["tenant_id"]) == (video, "received", tenant_id(tenant))
    old, again = (admin("GET", f"/videos/{each}") for each in (video, new["id"]))
    assert (again["plan"], again["key_id"]) == (old["plan"], old["key_id"])
    assert [each["kind"] for each in again["ledger"]] == ["hold"]
    assert client.videos.retrieve(new["id"]).status == "queued"
    world = World(database)
    for stage in Stage:
        world.advance(stage)
    assert world.state(tenant.id, parse(Kind.VIDEO, new["id"])) is State.COMPLETED


def test_a_retry_takes_copies_of_what_was_uploaded_as_long_as_it_is_kept(
    admin: Admin, http: TestClient, database: Database, object_store: ObjectStore
) -> None:
    picture = BytesIO()
    Image.new("RGB", (1280, 720), "red").save(picture, "PNG")
    form = {"prompt": "a ball", "size": "1280x720"}
    made = http.post("/v1/videos", data=form, files={"input_reference": picture.getvalue()})
    assert made.status_code == 200, made.text
    old = admin("GET", f"/videos/{made.json()['id']}")
    world = World(database)
    for stage in Stage:
        world.advance(stage)
    again = admin("POST", f"/videos/{old['id']}/retry")
    new = admin("GET", f"/videos/{again['id']}")
    keys = [each["plan"]["first_frame"] for each in (old, new)]
    assert keys[1] == new["request"]["first_frame"] != keys[0]
    assert object_store.read(keys[0]) == object_store.read(keys[1])
    admin("POST", f"/videos/{new['id']}/cancel")
    assert admin.refused("POST", f"/videos/{new['id']}/retry", 409)["code"] == "inputs_gone"


def test_a_retry_beyond_the_owners_quota_is_refused_and_leaves_nothing(
    admin: Admin, video: str, tenant: Tenant
) -> None:
    admin("POST", f"/videos/{video}/cancel")
    admin("PUT", f"/tenants/{tenant_id(tenant)}/quotas/micros", json={"limit": 0, "period": "total"})
    assert admin.refused("POST", f"/videos/{video}/retry", 429)["code"] == "insufficient_quota"
    assert len(admin("GET", "/videos", params={"tenant": tenant_id(tenant)})["data"]) == 1
    assert admin("GET", "/audit", params={"target": video, "action": "video.retried"})["data"] == []


@pytest.mark.parametrize(("decision", "state"), [("allow", "queued"), ("block", "blocked")])
def test_a_held_video_waits_for_a_moderator(
    moderator: Admin, video: str, database: Database, decision: str, state: str
) -> None:
    body = {"decision": decision, "note": "looked at it"}
    assert moderator.refused("POST", f"/videos/{video}/decide", 409, json=body)["code"] == "video_not_held"
    world = World(database)
    world.move(world.must_claim(Stage.SCREEN), State.HELD)
    assert moderator.refused("POST", f"/videos/{video}/decide", 400, json={"decision": "maybe"})["param"] == "decision"
    assert moderator("POST", f"/videos/{video}/decide", json=body)["state"] == state
    (entry,) = moderator("GET", "/audit", params={"target": video})["data"]
    assert (entry["action"], entry["before"]["state"]) == ("video.decided", "held")
    assert entry["after"] == {"state": state, "decision": decision, "note": "looked at it"}
    verdict = moderator("GET", f"/videos/{video}")["verdicts"][-1]
    assert (verdict["decision"], verdict["model"]) == (decision, entry["actor"])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("POST", "/decide")]
)
@pytest.mark.parametrize("video_id", [MISSING, "x", "tenant_" + "0" * 32])
def test_what_is_not_there_is_not_found(admin: Admin, method: str, path: str, video_id: str) -> None:
    body = {"decision": "allow"} if path == "/decide" else None
    assert admin.refused(method, f"/videos/{video_id}{path}", 404, json=body)["code"] == "video_not_found"


def test_workers_are_listed_drained_and_resumed(admin: Admin, viewer: Admin, database: Database) -> None:
    worker = Worker("host:1", ("render.small",), "host", 1)
    with database.transaction_for_any_tenant() as connection:
        assert not workers.beat_for_any_tenant(connection, worker, "idle", first=True)
    (seen,) = admin("GET", "/workers")["data"]
    assert (seen["id"], seen["queues"], seen["drain_requested_at"]) == ("host:1", ["render.small"], None)
    assert admin("POST", "/workers/host:1/drain") == {"id": "host:1", "object": "worker.draining"}
    with database.transaction_for_any_tenant() as connection:
        assert workers.beat_for_any_tenant(connection, worker, "idle"), "it hears of it at its next beat"
        assert not workers.beat_for_any_tenant(connection, worker, "idle", first=True), "a new process starts afresh"
    admin("POST", "/workers/host:1/drain")
    assert admin("POST", "/workers/host:1/resume") == {"id": "host:1", "object": "worker.resumed"}
    with database.transaction_for_any_tenant() as connection:
        assert not workers.beat_for_any_tenant(connection, worker, "draining")
    for verb in ("drain", "resume"):
        assert admin.refused("POST", f"/workers/nobody/{verb}", 404)["code"] == "worker_not_found"
        viewer.refused("POST", f"/workers/host:1/{verb}", 403)
    noted = [each["action"] for each in admin("GET", "/audit", params={"target": "host:1"})["data"]]
    assert noted == ["worker.resumed", "worker.drained", "worker.drained"]


def test_queues_say_what_waits_and_for_whom(admin: Admin, client: OpenAI, tenant: Tenant, database: Database) -> None:
    client.videos.create(prompt="a ball")
    World(database).advance(Stage.SCREEN)
    with database.transaction_for_any_tenant() as connection:
        workers.snapshot_for_any_tenant(connection, "render.small")
    (queue,) = admin("GET", "/queues")["data"]
    assert (queue["id"], queue["waiting"], queue["waiting_by_tenant"]) == ("render.small", 1, {tenant_id(tenant): 1})
