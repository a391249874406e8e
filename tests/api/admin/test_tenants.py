from __future__ import annotations

from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from domain.ids import Kind, public
from tests.api.admin.conftest import Admin

MISSING = public(Kind.TENANT, UUID(int=1))  # the same in every process that collects


def test_a_tenant_is_created_with_defaults_changed_and_read(admin: Admin) -> None:
    made = admin("POST", "/tenants", json={"name": "acme"})
    assert (made["object"], made["weight"], made["render_cap"], made["allowed_models"]) == ("tenant", 1.0, 4, None)
    changes = {
        "name": "Acme",
        "weight": 2.5,
        "render_cap": 0,
        "retention_seconds": 3600,
        "allowed_models": ["kinema-dit"],
        "moderation": {"review_from": 0.2, "on_review": "block"},
        "requests_per_minute": 60,
        "creates_per_minute": 6,
        "streams": 2,
        "endpoints": 3,
    }
    changed = admin("POST", f"/tenants/{made['id']}", json=changes)
    assert {name: changed[name] for name in changes} == changes
    assert admin("GET", f"/tenants/{made['id']}") == changed
    free = admin("POST", f"/tenants/{made['id']}", json={"requests_per_minute": None, "moderation": None})
    assert (free["requests_per_minute"], free["moderation"], free["weight"]) == (None, None, 2.5)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "name", "missing_required_parameter"),
        ({"name": ""}, "name", "invalid_value"),
        ({"name": "x", "colour": "red"}, "colour", "unknown_parameter"),
        ({"name": "x", "weight": 0}, "weight", "invalid_value"),
        ({"name": "x", "weight": "1"}, "weight", "invalid_type"),
        ({"name": "x", "weight": None}, "weight", "invalid_type"),
        ({"name": "x", "render_cap": 1.5}, "render_cap", "invalid_type"),
        ({"name": "x", "render_cap": True}, "render_cap", "invalid_type"),
        ({"name": "x", "streams": -1}, "streams", "invalid_value"),
        ({"name": "x", "allowed_models": "all"}, "allowed_models", "invalid_type"),
        ({"name": "x", "allowed_models": [1]}, "allowed_models", "invalid_type"),
        ({"name": "x", "moderation": {"on_review": "ignore"}}, "on_review", "invalid_value"),
        ({"name": "x", "moderation": {"off": True}}, "off", "unknown_parameter"),
        ({"name": "x", "moderation": {"review_from": 0.9, "block_from": 0.5}}, "moderation", "invalid_value"),
        ({"name": "x\0"}, "name", "invalid_value"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name(admin: Admin, body: dict[str, object], param: str, code: str) -> None:
    error = admin.refused("POST", "/tenants", 400, json=body)
    assert (error["param"], error["code"]) == (param, code)


def test_tenants_come_in_pages_newest_first(admin: Admin) -> None:
    made = [admin("POST", "/tenants", json={"name": "paged"})["id"] for _ in range(3)]
    first = admin("GET", "/tenants", params={"name": "paged", "limit": 2})
    assert (first["object"], first["has_more"], first["last_id"]) == ("list", True, made[1])
    rest = admin("GET", "/tenants", params={"name": "paged", "limit": 2, "after": first["last_id"]})
    assert [each["id"] for each in (*first["data"], *rest["data"])] == made[::-1]
    assert rest["has_more"] is False
    assert admin("GET", "/tenants", params={"name": "nobody"})["first_id"] is None
    assert admin.refused("GET", "/tenants?after=video_1", 400)["param"] == "after"


def test_a_disabled_tenant_is_let_in_no_more_until_it_is_enabled(app: TestClient, admin: Admin) -> None:
    made = admin("POST", "/tenants", json={"name": "acme"})
    key = admin("POST", f"/tenants/{made['id']}/keys", json={"name": "ci"})["key"]
    headers = {"authorization": f"Bearer {key}"}
    assert admin("POST", f"/tenants/{made['id']}/disable")["disabled_at"] is not None
    assert app.get("/v1/videos", headers=headers).status_code == 401
    assert admin("POST", f"/tenants/{made['id']}/enable")["disabled_at"] is None
    assert app.get("/v1/videos", headers=headers).status_code == 200


@pytest.mark.parametrize("public_id", [MISSING, "tenant_x", public(Kind.VIDEO, UUID(int=1))])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("POST", "/disable"), ("GET", "/keys"), ("POST", "/keys")]
)
def test_who_is_not_there_is_not_found(admin: Admin, method: str, path: str, public_id: str) -> None:
    body = {"name": "x"} if method == "POST" and path != "/disable" else None
    assert admin.refused(method, f"/tenants/{public_id}{path}", 404, json=body)["code"] == "tenant_not_found"


def test_a_key_is_shown_once_and_works_as_it_is_told(app: TestClient, admin: Admin) -> None:
    tenant = admin("POST", "/tenants", json={"name": "acme"})["id"]
    made = admin("POST", f"/tenants/{tenant}/keys", json={"name": "ci", "scopes": ["videos:read"], "expires_in": 60})
    key = made.pop("key")
    assert made["hint"].startswith("sk_kinema_")
    assert made["hint"].endswith(key[-4:])
    assert admin("GET", f"/tenants/{tenant}/keys/{made['id']}") == made
    assert key not in str(admin("GET", f"/tenants/{tenant}/keys"))
    headers = {"authorization": f"Bearer {key}"}
    assert app.get("/v1/videos", headers=headers).status_code == 200
    assert app.get("/v1/webhook_endpoints", headers=headers).status_code == 403
    changed = admin("POST", f"/tenants/{tenant}/keys/{made['id']}", json={"scopes": [], "expires_in": None})
    assert (changed["scopes"], changed["expires_at"], changed["name"]) == ([], None, "ci")


def test_rotation_gives_a_new_key_and_ends_the_old_one_after_the_overlap(app: TestClient, admin: Admin) -> None:
    tenant = admin("POST", "/tenants", json={"name": "acme"})["id"]
    old = admin("POST", f"/tenants/{tenant}/keys", json={"name": "ci"})
    new = admin("POST", f"/tenants/{tenant}/keys/{old['id']}/rotate")
    assert (new["replaces"], new["name"]) == (old["id"], "ci")
    for key in (old["key"], new["key"]):
        assert app.get("/v1/videos", headers={"authorization": f"Bearer {key}"}).status_code == 200
    ending = admin("GET", f"/tenants/{tenant}/keys/{old['id']}")["expires_at"]
    assert ending == pytest.approx(new["created_at"] + 86_400, abs=5)
    too_long = admin.refused(
        "POST", f"/tenants/{tenant}/keys/{new['id']}/rotate", 400, json={"overlap_seconds": 700_000}
    )
    assert too_long["param"] == "overlap_seconds"
    at_once = admin("POST", f"/tenants/{tenant}/keys/{new['id']}/rotate", json={"overlap_seconds": 0})
    assert at_once["replaces"] == new["id"]
    assert admin.refused("POST", f"/tenants/{tenant}/keys/{new['id']}/rotate", 409)["code"] == "key_ended"
    revoked = admin("POST", f"/tenants/{tenant}/keys/{at_once['id']}/revoke")
    assert revoked["revoked_at"] is not None


def test_anothers_key_is_not_found_below_this_tenant(admin: Admin) -> None:
    mine, theirs = (admin("POST", "/tenants", json={"name": name})["id"] for name in ("mine", "theirs"))
    key = admin("POST", f"/tenants/{theirs}/keys", json={"name": "ci"})["id"]
    for method, path in (("GET", ""), ("POST", "/revoke"), ("POST", "/rotate")):
        assert admin.refused(method, f"/tenants/{mine}/keys/{key}{path}", 404)["code"] == "key_not_found"
