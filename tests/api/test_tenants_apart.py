"""Every route, asked by one tenant for what is another's: an id that is somebody else's is an id that nobody has.

A route that is in none of the lists below fails the first test: say there how tenants are kept apart on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from httpx import Response

from api.app import create_app
from domain import ids
from domain.lifecycle import State
from runtime.settings import Settings
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.api.stages import bring
from tests.fixtures.media import clip, picture
from tests.fixtures.videos import World

Route = tuple[str, str]
VIDEO = "/v1/videos/{video_id}"
ENDPOINT = "/v1/webhook_endpoints/{webhook_endpoint_id}"
DELIVERY = ENDPOINT + "/deliveries/{event_id}"
BATCH = "/v1/batches/{batch_id}"
FILE = "/v1/files/{file_id}"
MADE = {"prompt": "hero walks", "model": "testcard", "seconds": "1", "size": "256x144"}

# Ids in the path, and what a body of the route looks like. Those that take something away come last.
BY_PATH: dict[Route, dict[str, Any] | None] = {
    ("GET", VIDEO): None,
    ("GET", VIDEO + "/content"): None,
    ("HEAD", VIDEO + "/content"): None,
    ("GET", VIDEO + "/events"): None,
    ("POST", VIDEO + "/feedback"): {"rating": "up"},
    ("POST", VIDEO + "/remix"): {"prompt": "again"},
    ("GET", "/v1/videos/characters/{character_id}"): None,
    ("GET", FILE): None,
    ("GET", FILE + "/content"): None,
    ("GET", BATCH): None,
    ("GET", ENDPOINT): None,
    ("POST", ENDPOINT): {"name": "renamed"},
    ("POST", ENDPOINT + "/test"): {"event_type": "video.completed"},
    ("POST", ENDPOINT + "/replay"): {"since": 0},
    ("GET", ENDPOINT + "/deliveries"): None,
    ("GET", DELIVERY): None,
    ("POST", DELIVERY + "/resend"): None,
    ("POST", ENDPOINT + "/rotate_secret"): {},
    ("POST", BATCH + "/cancel"): None,
    ("POST", VIDEO + "/cancel"): None,
    ("DELETE", VIDEO): None,
    ("DELETE", FILE): None,
    ("DELETE", ENDPOINT): None,
}
# Ids in the body.
BY_BODY: dict[Route, list[dict[str, Any]]] = {
    ("POST", "/v1/videos"): [
        {**MADE, "input_reference": {"file_id": "{file_id}"}},
        {**MADE, "last_frame": {"file_id": "{file_id}"}},
        {**MADE, "characters": [{"id": "{character_id}"}]},
    ],
    ("POST", "/v1/videos/edits"): [{"prompt": "red", "video": {"id": "{video_id}"}}],
    ("POST", "/v1/videos/extensions"): [{"prompt": "on", "seconds": "1", "video": {"id": "{video_id}"}}],
    ("POST", "/v1/videos/characters"): [
        {"name": "hero", "video": {"id": "{video_id}"}},
        {"name": "hero", "video": {"file_id": "{clip_id}"}},
    ],
    ("POST", "/v1/batches"): [
        {"input_file_id": "{lines_id}", "endpoint": "/v1/videos", "completion_window": "24h"},
    ],
}
# Lists and sums: the caller's own only. The second part is what the owner must find in it.
LISTS: dict[Route, str] = {
    ("GET", "/v1/videos"): "{video_id}",
    ("GET", "/v1/files"): "{file_id}",
    ("GET", "/v1/batches"): "{batch_id}",
    ("GET", "/v1/webhook_endpoints"): "{webhook_endpoint_id}",
    ("GET", "/v1/usage"): '"videos":',
    ("GET", "/v1/usage/export"): '"videos":',
}
# One for each tenant, without an id.
SINGLE: set[Route] = {
    ("GET", "/v1/webhook_endpoints/default"),
    ("POST", "/v1/webhook_endpoints/default/rotate_secret"),
}
# They make something of the caller's, and name nothing that is there already.
MAKING: set[Route] = {("POST", "/v1/files"), ("POST", "/v1/webhook_endpoints")}
# The same for everybody.
SHARED: set[Route] = {
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_id}"),
    ("GET", "/v1/webhook_event_types"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/provenance/verify"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/openapi.json"),
    ("HEAD", "/openapi.json"),
}
ADMIN = "/admin/v1/"


def routes(app: FastAPI) -> set[Route]:
    return {(method, context.path_format) for context in iter_route_contexts(app.routes) for method in context.methods}


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[TestClient]:
    """An application whose model has every capability, so that nothing is refused before an id is looked up."""
    with TestClient(create_app(replace(settings, testcard=True)), follow_redirects=False) as client:
        yield client


@dataclass
class Party:
    """One tenant at the service, and the ids of what it owns."""

    service: TestClient
    tenant: Tenant
    owns: Mapping[str, str]

    def ask(self, route: Route, body: object = None, names: Mapping[str, str] | None = None) -> Response:
        """With ids of its own, or with somebody else's."""
        known = self.owns if names is None else names
        url = re.sub(r"{(\w+)}", lambda found: known[found[1]], route[1])
        content = None if body is None else re.sub(r"{(\w+_id)}", lambda found: known[found[1]], json.dumps(body))
        headers = {"authorization": f"Bearer {self.tenant.key}", "content-type": "application/json"}
        return self.service.request(route[0], url, content=content, headers=headers)

    def file(self, content: bytes, purpose: str) -> str:
        answer = self.service.post(
            "/v1/files",
            files={"file": ("file", content)},
            data={"purpose": purpose},
            headers={"authorization": f"Bearer {self.tenant.key}"},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]


def equipped(service: TestClient, tenant: Tenant, world: World, store: ObjectStore) -> Party:
    """A tenant with one of everything."""
    party = Party(service, tenant, {})
    owns: dict[str, str] = {}
    party.owns = owns

    def made(route: str, body: object) -> str:
        answer = party.ask(("POST", route), body)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    owns["webhook_endpoint_id"] = made(
        "/v1/webhook_endpoints",
        {"name": "mine", "url": "https://example.com/hook", "event_types": ["video.completed", "batch.failed"]},
    )
    owns["video_id"] = made("/v1/videos", MADE)
    bring(world, State.COMPLETED, store)
    owns["file_id"] = party.file(picture(), "vision")
    owns["clip_id"] = party.file(clip(), "vision")
    owns["lines_id"] = party.file(b"{", "batch")
    owns["character_id"] = made("/v1/videos/characters", {"name": "hero", "video": {"file_id": owns["clip_id"]}})
    owns["batch_id"] = made(
        "/v1/batches", {"input_file_id": owns["lines_id"], "endpoint": "/v1/videos", "completion_window": "24h"}
    )
    owns["event_id"] = party.ask(("GET", ENDPOINT + "/deliveries")).json()["data"][-1]["id"]
    return party


@pytest.fixture
def parties(
    service: TestClient, new_tenant: Callable[[str], Tenant], world: World, object_store: ObjectStore
) -> tuple[Party, Party]:
    """Alice, who owns one of everything, and Mallory, who does too."""
    both = [equipped(service, new_tenant(name), world, object_store) for name in ("alice", "mallory")]
    return both[0], both[1]


def strangers(names: Mapping[str, str]) -> dict[str, str]:
    """Ids of the same kinds that nobody has."""
    return {name: f"{value.partition('_')[0]}_{ids.new_id().hex}" for name, value in names.items()}


def without_ids(answer: Response) -> str:
    return re.sub(r"[a-z]+_[0-9a-f]{32}", "ID", answer.text)


def test_every_route_is_known_here(service: TestClient) -> None:
    assert isinstance(service.app, FastAPI)
    there = {route for route in routes(service.app) if not route[1].startswith(ADMIN)}
    known = {*BY_PATH, *BY_BODY, *LISTS, *SINGLE, *MAKING, *SHARED}
    assert there - known == set(), "a new route: say above how tenants are kept apart on it"
    assert known - there == set(), "no such route any more"
    named = {route for route in there if "{" in route[1] and "{model_id}" not in route[1]}
    assert named == set(BY_PATH), "a route with an id in its path is tried with somebody else's"


def test_an_id_of_another_tenant_is_an_id_that_nobody_has(parties: tuple[Party, Party]) -> None:
    alice, mallory = parties
    for route, body in BY_PATH.items():
        stolen = mallory.ask(route, body, alice.owns)
        assert stolen.status_code == 404, (route, stolen.text)
        invented = mallory.ask(route, body, strangers(alice.owns))
        assert without_ids(stolen) == without_ids(invented), "the answer does not tell whether it exists"
    mixed = {**mallory.owns, "event_id": alice.owns["event_id"]}
    for route in (("GET", DELIVERY), ("POST", DELIVERY + "/resend")):
        assert mallory.ask(route, None, mixed).status_code == 404, "her own endpoint, his event"
    for route, body in BY_PATH.items():
        assert alice.ask(route, body).status_code != 404, (route, "its owner finds it: nothing was taken away")


def test_an_id_of_another_tenant_in_a_body_is_an_id_that_nobody_has(parties: tuple[Party, Party]) -> None:
    alice, mallory = parties
    for route, bodies in BY_BODY.items():
        for body in bodies:
            stolen = mallory.ask(route, body, alice.owns)
            assert stolen.status_code == 404, (route, body, stolen.text)
            invented = mallory.ask(route, body, strangers(alice.owns))
            assert without_ids(stolen) == without_ids(invented), "the answer does not tell whether it exists"
            assert alice.ask(route, body).status_code != 404, (route, "its owner finds it")


def test_lists_and_sums_hold_the_callers_own_only(
    parties: tuple[Party, Party], service: TestClient, new_tenant: Callable[[str], Tenant]
) -> None:
    alice, mallory = parties
    newcomer = Party(service, new_tenant("newcomer"), {})
    for route, mark in LISTS.items():
        assert re.sub(r"{(\w+)}", lambda found: alice.owns[found[1]], mark) in alice.ask(route).text, route
        for other in (mallory, newcomer):
            shown = other.ask(route)
            assert shown.status_code == 200
            for value in (*alice.owns.values(), alice.tenant.id.hex, str(alice.tenant.id)):
                assert value not in shown.text, (route, value)
        assert json_of(newcomer.ask(route)) == [], (route, "who has nothing is shown nothing")


def json_of(answer: Response) -> list[Any]:
    """The entries of a list, or the lines of an export."""
    if "json" in answer.headers["content-type"] and answer.text.startswith("{") and '"data"' in answer.text:
        return list(answer.json()["data"])
    return [line for line in answer.text.splitlines() if line]


def test_what_each_tenant_has_one_of_is_its_own(parties: tuple[Party, Party]) -> None:
    alice, mallory = parties
    get, rotate = ("GET", "/v1/webhook_endpoints/default"), ("POST", "/v1/webhook_endpoints/default/rotate_secret")
    first = alice.ask(rotate, {}).json()
    shown = alice.ask(get).json()
    stolen = mallory.ask(rotate, {}).json()
    assert stolen["signing_secret"] != first["signing_secret"]
    assert alice.ask(get).json() == shown, "hers was not touched"
    assert mallory.ask(get).json()["signing_secret_hint"] != shown["signing_secret_hint"]


def test_what_is_the_same_for_all_names_nobody(parties: tuple[Party, Party]) -> None:
    alice, mallory = parties
    bodies = {"/v1/moderations": {"input": "a ball"}}
    for route in SHARED:
        answer = mallory.ask(route, bodies.get(route[1]), {"model_id": "testcard"})
        for value in (*alice.owns.values(), alice.tenant.id.hex, str(alice.tenant.id), alice.tenant.key):
            assert value not in answer.text, (route, value)


def test_a_tenants_key_opens_nothing_of_the_administration(parties: tuple[Party, Party]) -> None:
    alice, mallory = parties
    assert isinstance(mallory.service.app, FastAPI)
    names = {**alice.owns, "tenant_id": ids.public(ids.Kind.TENANT, alice.tenant.id), "key_id": "key_1"}
    names |= {"worker_id": "w", "meter": "micros", "admin_key_id": "adm_1"}
    doors = [route for route in routes(mallory.service.app) if route[1].startswith(ADMIN)]
    assert len(doors) > 20
    for route in doors:
        known = dict.fromkeys(re.findall(r"{(\w+)}", route[1]), "x") | names
        assert mallory.ask(route, {}, known).status_code == 401, route


def test_without_a_key_everything_of_tenants_is_shut(service: TestClient, world: World) -> None:
    assert isinstance(service.app, FastAPI)
    open_to_all = {route for route in SHARED if not route[1].startswith("/v1")} | {("POST", "/v1/provenance/verify")}
    nobody = Party(service, Tenant(UUID(int=0), "sk-none"), {})
    for route in routes(service.app) - open_to_all:
        known = dict.fromkeys(re.findall(r"{(\w+)}", route[1]), "x")
        assert nobody.ask(route, {}, known).status_code == 401, route
    with world.database.transaction_for_any_tenant() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM videos WHERE tenant_id = :id"), {"id": UUID(int=0)}) == 0
