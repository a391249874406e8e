from __future__ import annotations

from tests.api.admin.conftest import Admin


def test_every_change_leaves_one_row_with_who_what_and_which_request(admin: Admin) -> None:
    me = admin("GET", "/me")["id"]
    tenant = admin("POST", "/tenants", json={"name": "acme"})["id"]
    made = admin("POST", f"/tenants/{tenant}/keys", json={"name": "ci"})
    rotated = admin("POST", f"/tenants/{tenant}/keys/{made['id']}/rotate")
    admin("POST", f"/tenants/{tenant}/keys/{rotated['id']}/revoke")
    admin("POST", f"/tenants/{tenant}", json={"weight": 2})
    admin("POST", f"/tenants/{tenant}/disable")
    page = admin("GET", "/audit", params={"tenant": tenant})
    assert [(each["action"], each["target"]) for each in page["data"]] == [
        ("tenant.disabled", tenant),
        ("tenant.updated", tenant),
        ("key.revoked", rotated["id"]),
        ("key.created", rotated["id"]),
        ("key.rotated", made["id"]),
        ("key.created", made["id"]),
        ("tenant.created", tenant),
    ]
    assert {each["actor"] for each in page["data"]} == {me}
    assert all(each["request_id"].startswith("req_") for each in page["data"])
    assert page["data"][1]["before"] == {"weight": 1.0}
    assert page["data"][1]["after"] == {"weight": 2.0}
    assert not any(key in str(page) for key in (made["key"], rotated["key"], "digest"))


def test_a_refused_or_idle_change_leaves_none(admin: Admin) -> None:
    tenant = admin("POST", "/tenants", json={"name": "acme"})["id"]
    admin.refused("POST", f"/tenants/{tenant}", 400, json={"weight": -1})
    admin("POST", f"/tenants/{tenant}", json={"name": "acme"})
    admin("POST", f"/tenants/{tenant}/enable")
    assert len(admin("GET", "/audit", params={"tenant": tenant})["data"]) == 1


def test_the_log_is_read_by_filters_and_pages(admin: Admin) -> None:
    me = admin("GET", "/me")["id"]
    made = [admin("POST", "/tenants", json={"name": "acme"}) for _ in range(3)]
    first = admin("GET", "/audit", params={"actor": me, "action": "tenant.created", "limit": 2})
    rest = admin("GET", "/audit", params={"actor": me, "action": "tenant.created", "after": first["last_id"]})
    assert [each["target"] for each in (*first["data"], *rest["data"])] == [each["id"] for each in made[::-1]]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert admin("GET", "/audit", params={"target": made[0]["id"]})["data"][0]["tenant_id"] == made[0]["id"]
    assert admin("GET", "/audit", params={"actor": me, "until": 1})["data"] == []
    assert admin("GET", "/audit", params={"actor": me, "since": 4_000_000_000})["data"] == []
    assert admin.refused("GET", "/audit?tenant=video_1", 400)["param"] == "tenant"
    assert admin.refused("GET", "/audit?after=x", 400)["param"] == "after"


def test_admin_keys_are_made_rotated_and_revoked_and_all_of_it_is_logged(admin: Admin) -> None:
    made = admin("POST", "/admin_keys", json={"name": "ops", "role": "operator"})
    assert made["key"].startswith("sk_kinadm_")
    assert "key" not in admin("GET", f"/admin_keys/{made['id']}")
    rotated = admin("POST", f"/admin_keys/{made['id']}/rotate", json={"overlap_seconds": 0})
    assert (rotated["role"], rotated["name"]) == ("operator", "ops")
    assert admin.refused("POST", f"/admin_keys/{made['id']}/rotate", 409)["code"] == "key_ended"
    assert admin("POST", f"/admin_keys/{rotated['id']}/revoke")["revoked_at"] is not None
    listed = admin("GET", "/admin_keys", params={"limit": 2})
    assert [each["id"] for each in listed["data"]] == [rotated["id"], made["id"]]
    log = admin("GET", "/audit", params={"target": made["id"]})["data"]
    assert [each["action"] for each in log] == ["admin_key.rotated", "admin_key.created"]
    assert admin.refused("POST", "/admin_keys", 400, json={"name": "x", "role": "king"})["param"] == "role"
