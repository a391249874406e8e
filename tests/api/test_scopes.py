from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api import callers, scopes
from api.app import create_app
from api.deps import authenticate
from domain.keys import Scope
from runtime.settings import Settings
from storage import keys
from storage.database import Database
from tests.api.conftest import PEPPER, Tenant

PUBLIC = {"/v1/provenance/verify"}  # a detector for everybody


@pytest.fixture
def limited(database: Database, tenant: Tenant) -> Callable[..., str]:
    def make(*wanted: Scope) -> str:
        with database.transaction_for_any_tenant() as connection:
            values = {"name": "limited", "scopes": list(wanted)}
            return keys.create(connection, tenant.id, values, {"1": PEPPER.encode()})[1]

    return make


@dataclass(frozen=True)
class Route:
    path: str
    method: str
    tags: tuple[str, ...]

    @property
    def needed(self) -> Scope | None:
        of_tag = next(scopes.OF_TAG[tag] for tag in self.tags if tag in scopes.OF_TAG)
        return of_tag.read if self.method in scopes.READING else of_tag.write


def routes(app: TestClient) -> Iterator[Route]:
    for path, methods in app.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1/") and path not in PUBLIC:
                yield Route(path, method.upper(), tuple(operation.get("tags", ())))


def every_route(of: Any) -> Iterator[APIRoute]:
    """Of an application or a router, and of all that it includes; hidden ones too."""
    for each in of.routes:
        if isinstance(each, APIRoute):
            yield each
        elif hasattr(each, "original_router"):
            yield from every_route(each.original_router)


def dependencies(of: Dependant) -> Iterator[object]:
    yield of.call
    for each in of.dependencies:
        yield from dependencies(each)


def test_every_route_names_its_scope(app: TestClient) -> None:
    nameless = [
        (route.path, route.method) for route in routes(app) if not any(tag in scopes.OF_TAG for tag in route.tags)
    ]
    assert nameless == []
    assert len(list(routes(app))) > 10


def test_hidden_routes_ask_for_a_scope_too(app: TestClient) -> None:
    """The interface's description leaves some out: this walks what is really served."""
    served = [route for route in every_route(app.app) if route.path.startswith("/v1/")]
    assert len(served) >= len(list(routes(app))) + len(PUBLIC)
    open_to_all = {route.path for route in served if authenticate not in dependencies(route.dependant)}
    assert open_to_all == PUBLIC
    for route in served:
        assert route.path in PUBLIC or any(tag in scopes.OF_TAG for tag in route.tags), (route.path, route.methods)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_reaches_as_far_as_its_scopes(app: TestClient, limited: Callable[..., str], scope: Scope) -> None:
    headers = {"authorization": f"Bearer {limited(scope)}"}
    for route in routes(app):
        answer = app.request(route.method, route.path, headers=headers)
        beyond = route.needed not in {None, scope}
        assert (answer.status_code == 403) == beyond, (route, answer.text)
        if beyond:
            assert answer.json()["error"]["code"] == "insufficient_scope"
            assert answer.json()["error"]["type"] == "permission_error"
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_route_without_a_scope_is_closed_to_a_limited_key(database: Database, limited: Callable[..., str]) -> None:
    caller = callers.of_tenants(database, {"1": PEPPER.encode()}).identify(limited(Scope.USAGE))
    assert caller is not None
    with pytest.raises(scopes.Forbidden):
        scopes.refuse_beyond(caller, ["something new"], "GET")


def test_a_limited_key_does_what_it_is_for(app: TestClient, limited: Callable[..., str]) -> None:
    both = {"authorization": f"Bearer {limited(Scope.VIDEOS_READ, Scope.VIDEOS_WRITE)}"}
    reading = {"authorization": f"Bearer {limited(Scope.VIDEOS_READ)}"}
    made = app.post("/v1/videos", json={"prompt": "a ball"}, headers=both)
    assert made.status_code == 200
    assert app.get(f"/v1/videos/{made.json()['id']}", headers=reading).status_code == 200
    assert app.delete(f"/v1/videos/{made.json()['id']}", headers=reading).status_code == 403


@pytest.mark.parametrize(
    "ending",
    [
        "UPDATE api_keys SET revoked_at = now() WHERE tenant_id = :tenant",
        "UPDATE api_keys SET expires_at = now() WHERE tenant_id = :tenant",
        "UPDATE tenants SET disabled_at = now() WHERE id = :tenant",
    ],
)
def test_an_end_is_felt_within_five_seconds_on_every_replica(
    app: TestClient,
    settings: Settings,
    database: Database,
    tenant: Tenant,
    ending: str,
) -> None:
    headers = {"authorization": f"Bearer {tenant.key}"}
    with TestClient(create_app(settings)) as other:
        replicas = (app, other)
        assert {each.get("/v1/models", headers=headers).status_code for each in replicas} == {200}
        with database.transaction_for_any_tenant() as connection:
            connection.execute(sa.text(ending), {"tenant": tenant.id})
        for each in replicas:
            ring = each.app.state.services.keys
            ring._known = {key: (until - 5.0, owner) for key, (until, owner) in ring._known.items()}
        assert {each.get("/v1/models", headers=headers).status_code for each in replicas} == {401}
