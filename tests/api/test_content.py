from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from openai import BadRequestError, NotFoundError, OpenAI

from api.app import create_app
from domain import ids
from domain.lifecycle import State
from runtime.settings import Settings
from storage import outputs, reconciliation
from storage.objects import ObjectStore
from storage.outputs import CONTENT_TYPES, Kind
from tests.api.conftest import Tenant
from tests.api.stages import FILES, bring
from tests.fixtures.videos import World

VIDEO = FILES[Kind.VIDEO]
ETAG = f'"{hashlib.sha256(VIDEO).hexdigest()}"'


@pytest.fixture
def url(client: OpenAI, world: World, object_store: ObjectStore) -> str:
    video = client.videos.create(prompt="a ball")
    bring(world, State.COMPLETED, object_store)
    return f"/v1/videos/{video.id}/content"


def test_every_variant_downloads(client: OpenAI, url: str) -> None:
    video_id = url.split("/")[3]
    assert client.videos.download_content(video_id).read() == VIDEO
    for kind, content in FILES.items():
        answer = client.videos.download_content(video_id, variant=kind.value)
        assert answer.read() == content
        assert answer.response.headers["content-type"] == CONTENT_TYPES[kind]
        assert answer.response.headers["content-length"] == str(len(content))


def test_an_unknown_variant_is_refused(client: OpenAI, url: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.videos.download_content(url.split("/")[3], variant="audio")
    assert refused.value.param == "variant"


@pytest.mark.parametrize("state", [State.RECEIVED, State.RENDERED, State.PUBLISHING, State.FAILED, State.BLOCKED])
def test_there_is_no_content_without_a_result(client: OpenAI, world: World, state: State) -> None:
    video = client.videos.create(prompt="a ball")
    bring(world, state)
    with pytest.raises(NotFoundError):
        client.videos.download_content(video.id)


def test_parts_download(http: TestClient, url: str) -> None:
    part = http.get(url, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, VIDEO[10:20])
    assert part.headers["content-range"] == "bytes 10-19/1000"
    assert part.headers["content-length"] == "10"
    last = http.get(url, headers={"range": "bytes=-1"})
    assert (last.status_code, last.content, last.headers["content-range"]) == (206, b"9", "bytes 999-999/1000")


def test_a_part_outside_of_the_file_is_refused(http: TestClient, url: str) -> None:
    outside = http.get(url, headers={"range": "bytes=1000-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, "bytes */1000")
    assert outside.json()["error"]["param"] == "range"


def test_what_the_client_has_is_not_sent_again(http: TestClient, url: str) -> None:
    whole = http.get(url)
    assert (whole.headers["etag"], whole.headers["accept-ranges"]) == (ETAG, "bytes")
    known = http.get(url, headers={"if-none-match": ETAG})
    assert (known.status_code, known.content) == (304, b"")


def test_a_part_of_another_file_is_not_mixed_in(http: TestClient, url: str) -> None:
    same = http.get(url, headers={"range": "bytes=0-9", "if-range": ETAG})
    other = http.get(url, headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert (same.status_code, other.status_code, other.content) == (206, 200, VIDEO)


def test_a_head_has_the_headers_only(http: TestClient, url: str) -> None:
    head = http.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "1000")
    assert (head.headers["etag"], head.headers["content-type"]) == (ETAG, "video/mp4")


def test_where_clients_reach_the_store_they_are_sent_there(settings: Settings, tenant: Tenant, url: str) -> None:
    fields: dict[str, Any] = {name: getattr(settings, name) for name in Settings.__slots__}
    public = Settings(**fields | {"s3_public_url": settings.s3_endpoint_url})
    with TestClient(create_app(public), headers={"authorization": f"Bearer {tenant.key}"}) as http:
        answer = http.get(url, follow_redirects=False)
        assert answer.status_code == 302
        assert answer.headers["cache-control"] == "no-store"
        assert http.head(url, follow_redirects=False).status_code == 200
    link = answer.headers["location"]
    assert link.startswith(settings.s3_endpoint_url)
    assert httpx.get(link, trust_env=False).content == VIDEO, "the link needs no key of ours"


def test_files_that_are_gone_are_said_to_be_lost(
    http: TestClient, url: str, world: World, object_store: ObjectStore, tenant: Tenant
) -> None:
    video_id = ids.parse(ids.Kind.VIDEO, url.split("/")[3])
    with world.database.transaction(tenant.id) as connection:
        gone = [each.object_key for each in outputs.find(connection, tenant.id, video_id).values()]
    object_store.delete(gone)
    answer = http.get(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "content_lost")
    with world.database.transaction(tenant.id) as connection:
        assert reconciliation.mark(connection, tenant.id, video_id, lost=True)
    assert http.get(url).json()["error"]["code"] == "content_lost"
    video = http.get(url.removesuffix("/content")).json()
    assert (video["status"], video["error"]["code"]) == ("completed", "content_lost")
