from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import AuthenticationError, InternalServerError, NotFoundError, OpenAI
from PIL import Image

from api.app import create_app
from domain.ids import Kind, public
from runtime.settings import Secret, Settings
from tests.api.conftest import BASE, Tenant

MISSING = public(Kind.VIDEO, UUID(int=1))  # the same in every process that collects


def error_of(answer: Any) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"].startswith("req_")
    return body["error"]


def test_without_a_valid_key_nothing_is_answered(app: TestClient) -> None:
    for text in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer sk_kinema_x",
        "Basic dXNlcjpwYXNz",
        "Bearer \u00e4",
        "Bearer " + "x" * 9000,
    ):
        answer = app.get("/v1/videos", headers={"authorization": text.encode("latin-1")} if text else {})
        assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key"), text
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_sdk_says_that_its_key_is_wrong(client_of: Callable[..., OpenAI], tenant: Tenant) -> None:
    wrong = tenant.key[:-8] + "A" * 8
    with pytest.raises(AuthenticationError) as refused:
        client_of(Tenant(tenant.id, wrong)).videos.list()
    assert refused.value.code == "invalid_api_key"


def test_every_resource_asks_for_a_key(app: TestClient) -> None:
    document = app.get("/openapi.json").json()
    resources = [(path, method) for path, methods in document["paths"].items() for method in methods if "/v1/" in path]
    assert ("/v1/videos/{video_id}/content", "get") in resources
    open_to_all = [path for path, method in resources if app.request(method, path).status_code != 401]
    assert open_to_all == ["/v1/provenance/verify"], "a detector is for everybody"


def test_a_body_is_not_received_from_strangers(app: TestClient) -> None:
    assert app.post("/v1/videos", content=b"x" * 2_000_000).status_code == 401


ROUTER = [
    ("GET", "/", 404),
    ("GET", "/v1/nothing", 404),
    ("GET", "/v1/videos/", 404),
    ("POST", "/v1/videos/", 404),
    ("GET", f"/v1/videos/{MISSING}/", 404),
    ("GET", "/v1/models/", 404),
    ("GET", "/v1/webhook_endpoints/", 404),
    ("GET", "/v1/videos/characters", 405),
    ("DELETE", f"/v1/videos/{MISSING}/remix", 405),
    ("PUT", "/v1/videos", 405),
    ("PATCH", f"/v1/videos/{MISSING}", 405),
    ("POST", f"/v1/videos/{MISSING}/content", 405),
]


def test_the_router_answers_in_the_same_body(http: TestClient) -> None:
    for method, path, status in ROUTER:
        answer = http.request(method, path)
        assert (answer.status_code, error_of(answer)["type"]) == (status, "invalid_request_error"), (method, path)
        assert ("Invalid URL" in answer.text) == (status == 404), (method, path)


def test_what_is_no_id_is_not_found(http: TestClient) -> None:
    for name in ("x", "video_1", "video_" + "G" * 32, "evt_" + "0" * 32, "%00", "video_%F0%9F%98%80"):
        answer = http.get(f"/v1/videos/{name}")
        assert (answer.status_code, error_of(answer)["code"]) == (404, "video_not_found"), name


def test_somebody_elses_video_is_not_found_on_any_route(
    client_of: Callable[..., OpenAI], client: OpenAI, new_tenant: Callable[[str], Tenant]
) -> None:
    theirs = client.videos.create(prompt="a ball").id
    bob = client_of(new_tenant("bob"))
    calls: list[Callable[[], object]] = [
        lambda: bob.videos.retrieve(theirs),
        lambda: bob.videos.delete(theirs),
        lambda: bob.videos.download_content(theirs),
        lambda: bob.post(f"/videos/{theirs}/cancel", cast_to=object),
    ]
    bodies: set[str] = set()
    for call in calls:
        with pytest.raises(NotFoundError) as refused:
            call()
        bodies.add(str(refused.value.body).replace(theirs, ""))
    with pytest.raises(NotFoundError) as missing:
        bob.videos.retrieve(MISSING)
    bodies.add(str(missing.value.body).replace(MISSING, ""))
    assert len(bodies) == 1, "an answer does not tell whether the video exists"
    assert client.videos.retrieve(theirs).status == "queued"


def stream(size: int) -> Iterator[bytes]:
    yield from (b"x" * 10_000 for _ in range(size // 10_000))


def test_a_large_body_is_refused_whether_or_not_it_says_how_large(http: TestClient) -> None:
    declared = http.post("/v1/videos", content=b"x" * 1_100_000, headers={"content-type": "application/json"})
    chunked = http.post("/v1/videos", content=stream(1_100_000), headers={"content-type": "application/json"})
    for answer in (declared, chunked):
        assert answer.status_code == 413
        assert "1000000 bytes" in error_of(answer)["message"]


def test_a_database_that_is_away_is_worth_a_retry(settings: Settings, tenant: Tenant) -> None:
    gone = Secret(settings.database_url.rsplit("/", 1)[0] + "/nowhere")
    fields = {name: getattr(settings, name) for name in Settings.__slots__}
    with TestClient(create_app(Settings(**fields | {"database_url": gone}))) as http:
        client = OpenAI(api_key=tenant.key, base_url=BASE, http_client=http, max_retries=0)
        with pytest.raises(InternalServerError) as refused:
            client.videos.create(prompt="a ball")
        ready = http.get("/readyz")
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"] == "2"
    assert "nowhere" not in refused.value.response.text
    assert (ready.status_code, ready.json()["database"]) == (503, False)


def test_an_object_store_that_is_away_is_worth_a_retry(settings: Settings, tenant: Tenant) -> None:
    fields = {name: getattr(settings, name) for name in Settings.__slots__}
    lost = Settings(**fields | {"s3_endpoint_url": "http://127.0.0.1:1"})
    picture = BytesIO()
    Image.new("RGB", (720, 1280)).save(picture, "PNG")
    with TestClient(create_app(lost)) as http:
        assert http.get("/readyz").json() == {"status": "ready", "database": True, "redis": True, "s3": False}
        client = OpenAI(api_key=tenant.key, base_url=BASE, http_client=http, max_retries=0)
        with pytest.raises(InternalServerError) as refused:
            client.videos.create(prompt="a ball", input_reference=("a.png", picture.getvalue()))
        assert client.videos.create(prompt="a ball").status == "queued", "without an input it is not needed"
    assert (refused.value.status_code, refused.value.response.headers["retry-after"]) == (503, "2")


def test_what_nobody_planned_is_logged_and_not_told(
    http: TestClient, caplog: pytest.LogCaptureFixture, owner_url: str
) -> None:
    with sa.create_engine(owner_url, poolclass=sa.NullPool).connect() as connection:
        connection.execute(sa.text("REVOKE SELECT ON videos FROM kinema_tenant"))
        connection.commit()
        with caplog.at_level(logging.ERROR, "api.tracking"):
            answer = http.get("/v1/videos", headers={"x-client-request-id": "theirs-1"})
        connection.execute(sa.text("GRANT SELECT ON videos TO kinema_tenant"))
        connection.commit()
    assert (answer.status_code, error_of(answer)["type"]) == (500, "server_error")
    assert "videos" not in answer.text
    assert "InsufficientPrivilege" in caplog.text


def test_every_answer_has_an_id_of_its_own(client: OpenAI, http: TestClient) -> None:
    first, second = (client.videos.create(prompt="a ball")._request_id for _ in range(2))
    assert first
    assert first != second
    theirs = http.get("/healthz", headers={"x-request-id": "mine", "x-client-request-id": "mine"})
    assert theirs.headers["x-request-id"].startswith("req_")
