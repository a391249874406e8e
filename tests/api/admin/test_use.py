"""What tenants use, may use, and think of it."""

from __future__ import annotations

from openai import OpenAI

from domain.ids import Kind, parse, public
from domain.lifecycle import Stage
from storage import feedback, keys
from storage.database import Database
from tests.api.admin.conftest import Admin
from tests.api.conftest import Tenant
from tests.fixtures.videos import World


def test_quotas_are_set_read_and_taken_away(admin: Admin, client: OpenAI, tenant: Tenant) -> None:
    path = f"/tenants/{public(Kind.TENANT, tenant.id)}/quotas"
    video = client.videos.create(prompt="a ball", seconds="4")
    made = admin("PUT", f"{path}/video_ms", json={"limit": 5000, "period": "day"})
    assert (made["limit"], made["held"], made["period"]) == (5000, 4000, "day")
    assert admin("GET", path)["data"] == [made]
    admin("PUT", f"{path}/video_ms", json={"limit": 9000, "period": "day"})
    assert admin("DELETE", f"{path}/video_ms")["deleted"] is True
    assert admin.refused("DELETE", f"{path}/video_ms", 404)["code"] == "quota_not_found"
    assert admin.refused("PUT", f"{path}/video_ms", 400, json={"limit": 1})["param"] == "period"
    assert admin.refused("PUT", f"{path}/bananas", 400, json={"limit": 1, "period": "day"})["param"] == "meter"
    log = admin("GET", "/audit", params={"tenant": public(Kind.TENANT, tenant.id)})["data"]
    assert [each["action"] for each in log] == ["quota.cleared", "quota.set", "quota.set"]
    assert log[1]["before"] == {"video_ms": {"limit": 5000, "period": "day"}}
    client.videos.delete(video.id)


def test_usage_of_all_tenants_is_added_up_and_exported(
    admin: Admin, client: OpenAI, tenant: Tenant, database: Database
) -> None:
    client.videos.create(prompt="a ball", seconds="4")
    world = World(database)
    for stage in Stage:
        world.advance(stage)
    mine = admin("GET", "/usage", params={"tenant": public(Kind.TENANT, tenant.id), "group_by": "tenant"})
    (line,) = mine["data"]
    assert (line["tenant"], line["videos"], line["video_ms"]) == (public(Kind.TENANT, tenant.id), 1, 4000)
    everybody = admin("GET", "/usage", params={"group_by": "tenant", "limit": 1000})
    assert line in everybody["data"]
    answer = admin.app.get(
        "/admin/v1/usage/export", params={"format": "csv", "group_by": "tenant"}, headers=admin.headers
    )
    assert public(Kind.TENANT, tenant.id) in answer.text
    assert admin.refused("GET", "/usage?tenant=x", 400)["param"] == "tenant"


def test_feedback_is_read_by_those_who_may(
    admin: Admin, viewer: Admin, client: OpenAI, tenant: Tenant, database: Database
) -> None:
    made = [client.videos.create(prompt="a ball").id for _ in range(2)]
    with database.transaction(tenant.id) as connection:
        (key,), _ = keys.page(connection, tenant.id, after=None, limit=1)
        for number, video_id in enumerate(made):
            feedback.give(
                connection, tenant.id, parse(Kind.VIDEO, video_id), key.id, rating=1 if number else -1, reason="why"
            )
    first = admin("GET", "/feedback", params={"tenant": public(Kind.TENANT, tenant.id), "limit": 1})
    assert (first["has_more"], first["data"][0]["video_id"], first["data"][0]["reason"]) == (True, made[1], "why")
    rest = admin("GET", "/feedback", params={"tenant": public(Kind.TENANT, tenant.id), "before": first["before"]})
    assert [each["video_id"] for each in rest["data"]] == [made[0]]
    bad = admin(
        "GET", "/feedback", params={"tenant": public(Kind.TENANT, tenant.id), "rating": -1, "model": "kinema-dit"}
    )
    assert [each["video_id"] for each in bad["data"]] == [made[0]]
    assert viewer("GET", "/feedback", params={"tenant": public(Kind.TENANT, tenant.id)})["data"][0]["reason"] is None
