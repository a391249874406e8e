from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from domain import ids
from domain.lifecycle import State
from storage import feedback, keys
from tests.api.conftest import PEPPER, Tenant
from tests.api.stages import bring
from tests.fixtures.videos import World


@pytest.fixture
def video_id(world: World, tenant: Tenant) -> str:
    """A blocked one: that it was blocked may be wrong, so it can be judged too."""
    public = ids.public(ids.Kind.VIDEO, world.create(tenant.id))
    bring(world, State.BLOCKED)
    return public


def rate(app: TestClient, key: str, video_id: str, **form: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}"}
    return app.post(f"/v1/videos/{video_id}/feedback", json=form, headers=headers)


def test_a_video_is_rated_with_a_reason(http: TestClient, tenant: Tenant, video_id: str) -> None:
    answer = rate(http, tenant.key, video_id, rating="down", reason=" it was a cat ")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert abs(body.pop("created_at") - datetime.now(UTC).timestamp()) < 60
    assert body.pop("updated_at")
    assert body == {"object": "video.feedback", "video_id": video_id, "rating": "down", "reason": "it was a cat"}


@pytest.mark.parametrize("rating", [1, "1", "up"])
def test_numbers_and_forms_are_understood(http: TestClient, tenant: Tenant, video_id: str, rating: Any) -> None:
    assert rate(http, tenant.key, video_id, rating=rating).json()["rating"] == "up"
    form = http.post(f"/v1/videos/{video_id}/feedback", files={"rating": (None, "-1")})
    assert form.json()["rating"] == "down"


def test_a_key_has_one_opinion_and_may_change_it(app: TestClient, tenant: Tenant, video_id: str, world: World) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        other = keys.issue_for_any_tenant(connection, tenant.id, "other", PEPPER.encode(), "1")
    rate(app, tenant.key, video_id, rating="down", reason="too dark")
    rate(app, tenant.key, video_id, rating="up")
    rate(app, other, video_id, rating="down")
    with world.database.transaction(tenant.id) as connection:
        said = feedback.of_video(connection, tenant.id, ids.parse(ids.Kind.VIDEO, video_id))
    assert [(each.rating, each.reason) for each in said] == [(1, None), (-1, None)]
    assert said[0].updated_at > said[0].created_at


def test_administrators_read_it_newest_first(
    app: TestClient, new_tenant: Callable[[str], Tenant], world: World
) -> None:
    videos: list[str] = []
    for name in ("one", "two"):
        owner = new_tenant(name)
        videos.append(ids.public(ids.Kind.VIDEO, world.create(owner.id)))
        bring(world, State.BLOCKED)
        rate(app, owner.key, videos[-1], rating="up" if name == "one" else "down", reason=name)
    with world.database.transaction_for_any_tenant() as connection:
        both = feedback.list_for_any_tenant(connection, limit=2)
        older = feedback.list_for_any_tenant(connection, limit=1, before=both[0].feedback.updated_at)
        bad = feedback.list_for_any_tenant(connection, limit=5, tenant_id=both[1].feedback.tenant_id, rating=-1)
        none = feedback.list_for_any_tenant(connection, limit=5, model="nothing")
        early = feedback.list_for_any_tenant(connection, limit=5, before=datetime.now(UTC) - timedelta(days=400))
    assert [(each.feedback.reason, each.model, each.deleted) for each in both] == [
        ("two", "testcard", False),
        ("one", "testcard", False),
    ]
    assert older == [both[1]]
    assert (bad, none, early) == ([], [], [])


def test_a_video_under_way_cannot_be_judged(http: TestClient, tenant: Tenant, world: World) -> None:
    video_id = ids.public(ids.Kind.VIDEO, world.create(tenant.id))
    answer = rate(http, tenant.key, video_id, rating="up")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "video_unfinished")


def test_nobody_judges_another_tenants_video(
    app: TestClient, new_tenant: Callable[[str], Tenant], video_id: str
) -> None:
    for path in (video_id, "video_unknown"):
        answer = rate(app, new_tenant("bob").key, path, rating="up")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "video_not_found")


@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        ({}, ("rating", "missing_required_parameter")),
        ({"rating": "great"}, ("rating", "invalid_value")),
        ({"rating": 0}, ("rating", "invalid_value")),
        ({"rating": True}, ("rating", "invalid_type")),
        ({"rating": "up", "reason": 5}, ("reason", "invalid_type")),
        ({"rating": "up", "reason": "x" * 2001}, ("reason", "string_above_max_length")),
        ({"rating": "up", "stars": 5}, ("stars", "unknown_parameter")),
    ],
    ids=["nothing", "no rating", "zero", "a boolean", "a number", "too long", "too much"],
)
def test_what_is_wrong_is_said(
    http: TestClient, tenant: Tenant, video_id: str, form: dict[str, Any], refusal: tuple[str, str]
) -> None:
    answer = rate(http, tenant.key, video_id, **form)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, *refusal)


def test_the_words_go_with_the_video(http: TestClient, tenant: Tenant, video_id: str, world: World) -> None:
    rate(http, tenant.key, video_id, rating="down", reason="it showed my house")
    assert http.delete(f"/v1/videos/{video_id}").status_code == 200
    with world.database.transaction(tenant.id) as connection:
        (left,) = feedback.of_video(connection, tenant.id, ids.parse(ids.Kind.VIDEO, video_id))
    assert (left.rating, left.reason) == (-1, None)
