"""Who may call what: all routes times all roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api.admin import router as administration
from api.admin.access import Needs
from domain.administration import GRANTS, Permission, Role
from tests.api.admin.conftest import Admin
from tests.api.conftest import Tenant


@dataclass(frozen=True)
class Route:
    path: str
    method: str
    permission: Permission


def needs(dependant: Dependant) -> Iterator[Permission]:
    for each in dependant.dependencies:
        if isinstance(each.call, Needs):
            yield each.call.permission
        yield from needs(each)


def own(routers: list[object]) -> Iterator[APIRoute]:
    for each in routers:
        if isinstance(each, APIRoute):
            yield each
        else:
            yield from own(each.original_router.routes)


ROUTES = [
    Route(route.path_format, method, permission)
    for route in own(administration.router.routes)
    for method in sorted(route.methods)
    for permission in needs(route.dependant)
]


def test_every_route_asks_for_exactly_one_permission(app: TestClient) -> None:
    paths = app.get("/openapi.json").json()["paths"]
    documented = {
        (path.removeprefix("/admin/v1"), method.upper())
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/admin/")
    }
    assert sorted((route.path, route.method) for route in ROUTES) == sorted(documented)
    assert len(ROUTES) > 15


@pytest.mark.parametrize("role", list(Role))
def test_a_role_reaches_what_it_is_granted_and_nothing_else(
    app: TestClient, key_of: Callable[[Role], str], role: Role
) -> None:
    caller = Admin(app, key_of(role))
    for route in ROUTES:
        answer = app.request(route.method, f"/admin/v1{route.path}", headers=caller.headers)
        assert answer.status_code != 401, route
        assert (answer.status_code == 403) == (route.permission not in GRANTS[role]), (route, answer.text)
        if answer.status_code == 403:
            assert answer.json()["error"]["code"] == "insufficient_role"


def test_no_key_of_a_tenant_opens_it_and_no_admin_key_opens_v1(app: TestClient, admin: Admin, tenant: Tenant) -> None:
    for route in ROUTES:
        for headers in ({}, {"authorization": f"Bearer {tenant.key}"}):
            answer = app.request(route.method, f"/admin/v1{route.path}", headers=headers)
            assert answer.status_code == 401, route
            assert answer.json()["error"]["code"] == "invalid_api_key"
    assert app.get("/v1/videos", headers=admin.headers).status_code == 401


def test_only_who_is_known_may_send_a_body_and_only_a_small_one(app: TestClient, admin: Admin) -> None:
    assert app.post("/admin/v1/tenants", content=b"x" * 3_000_000).status_code == 401
    admin.refused("POST", "/tenants", 413, content=b"x" * 3_000_000)
    form = admin.refused("POST", "/tenants", 415, data={"name": "x"})
    assert "application/json" in form["message"]


def test_the_roles_grow_from_viewer_to_admin() -> None:
    assert GRANTS[Role.ADMIN] == set(Permission)
    assert all(GRANTS[Role.VIEWER] < GRANTS[role] for role in Role if role is not Role.VIEWER)


def test_a_key_knows_what_it_may_do(app: TestClient, key_of: Callable[[Role], str]) -> None:
    me = Admin(app, key_of(Role.MODERATOR))("GET", "/me")
    assert (me["role"], me["object"]) == ("moderator", "admin_key")
    assert set(me["permissions"]) == GRANTS[Role.MODERATOR]
    assert "key" not in me


@pytest.mark.parametrize("role", [Role.ADMIN])
def test_a_revoked_admin_key_ends_within_five_seconds(
    app: TestClient, key_of: Callable[[Role], str], admin: Admin, role: Role
) -> None:
    other = Admin(app, key_of(role))
    me = other("GET", "/me")
    admin("POST", f"/admin_keys/{me['id']}/revoke")
    ring = app.app.state.services.admins
    ring._known = {key: (until - 5.0, owner) for key, (until, owner) in ring._known.items()}
    other.refused("GET", "/me", 401)
