from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import BadRequestError, OpenAI, RateLimitError
from PIL import Image

from api import references
from api.app import create_app
from api.fetching import ROOM, Fetcher
from api.turns import Crowd
from domain import ids
from domain.errors import InvalidRequest, Unavailable
from domain.ledger import Meter
from domain.quotas import Period
from runtime.settings import Settings
from storage import ledger, videos
from storage.objects import ObjectStore
from tests.api.conftest import BASE, Tenant
from tests.fixtures import media
from tests.fixtures.receiver import Answer, Receiver, canary, raw_server, receiver
from tests.fixtures.videos import World


def stored(world: World, store: ObjectStore, tenant: Tenant, public_id: str) -> Image.Image:
    video_id = ids.parse(ids.Kind.VIDEO, public_id)
    with world.database.transaction(tenant.id) as connection:
        video = videos.find(connection, tenant.id, video_id)
        doomed = connection.scalars(sa.text("SELECT doomed_at FROM objects WHERE purpose = 'input'")).all()
    assert video is not None
    key = f"inputs/{tenant.id.hex}/{video_id.hex}/first_frame.png"
    assert video.plan.first_frame == video.request.first_frame == key
    assert doomed == [None], "the video has adopted its input"
    return Image.open(BytesIO(store.read(video.plan.first_frame)))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_file_becomes_the_first_frame(
    client: OpenAI, world: World, object_store: ObjectStore, tenant: Tenant, kind: str
) -> None:
    reference = ("anything.gif", media.picture(kind), "application/x-nonsense")
    video = client.videos.create(prompt="it moves", size="256x144", input_reference=reference)
    image = stored(world, object_store, tenant, video.id)
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (256, 144))
    left, right = image.getpixel((5, 5)), image.getpixel((250, 5))
    assert sum(left) > 3 * sum(right)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_data_url_becomes_the_first_frame(
    client: OpenAI, world: World, object_store: ObjectStore, tenant: Tenant, *, as_json: bool
) -> None:
    headers = {"content-type": "application/json"} if as_json else {}
    reference = {"input_reference": {"image_url": media.data_url(media.picture("JPEG"), "jpeg")}}
    video = client.videos.create(prompt="it moves", size="256x144", extra_body=reference, extra_headers=headers)
    assert stored(world, object_store, tenant, video.id).size == (256, 144)


def test_a_json_string_in_a_form_may_hold_the_reference(http: TestClient) -> None:
    reference = '{"image_url": "' + media.data_url(media.picture()) + '"}'
    fields = {"prompt": "it moves", "size": "256x144", "input_reference": reference}
    answer = http.post("/v1/videos", files={name: (None, value) for name, value in fields.items()})
    assert answer.status_code == 200, answer.text


def test_a_picture_of_another_size_is_refused_in_openai_s_words(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.videos.create(prompt="it moves", input_reference=("a.png", media.picture()))
    assert refused.value.body == {
        "message": "Inpaint image must match the requested width and height",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        ("just text", "invalid_type", "expected a file or an object, but got a string"),
        ({"image_url": "file:///etc/passwd"}, "invalid_value", "base64 data URL"),
        ({"image_url": "data:image/svg+xml;base64,AAAA"}, "invalid_value", "base64 data URL"),
        ({"image_url": "data:image/png;base64,%%%"}, "invalid_value", "not valid base64"),
        ({"image_url": "data:image/png;base64,ÄÖÜ="}, "invalid_value", "not valid base64"),
        ({"image_url": 5}, "invalid_type", "expected a string"),
        ({"file_id": "file_1", "image_url": "data:"}, "invalid_value", "exactly one"),
        ({"path": "/etc/passwd"}, "invalid_value", "exactly one"),
        ({}, "invalid_value", "exactly one"),
        ([], "invalid_type", "but got an array"),
    ],
)
def test_other_references_are_refused(reference: Any, code: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        references.picture("input_reference", reference)
    assert refused.value.code == code
    assert (refused.value.param or "").startswith("input_reference")
    assert message in refused.value.message


def test_what_cannot_be_decoded_is_refused_by_its_reason(client: OpenAI) -> None:
    for content, message in [
        (b"not a picture", "could not be read. Supported image formats: jpeg, png, and webp"),
        (media.picture("GIF", mode="L"), "could not be read"),
        (media.png(60_000, 60_000), "too large"),
        (media.picture()[:200], "could not be read"),
    ]:
        with pytest.raises(BadRequestError, match=message) as refused:
            client.videos.create(prompt="it moves", size="256x144", input_reference=("a.png", content))
        assert refused.value.param == "input_reference"


@pytest.fixture
def hosted(settings: Settings, tenant: Tenant) -> Iterator[tuple[OpenAI, Receiver]]:
    """A client of an application that may fetch from this machine, and a host there."""
    with (
        receiver() as host,
        TestClient(create_app(replace(settings, webhook_allow_loopback=True)), follow_redirects=False) as app,
    ):
        yield OpenAI(api_key=tenant.key, base_url=BASE, http_client=app, max_retries=0), host


def of_url(url: str) -> dict[str, Any]:
    return {"input_reference": {"image_url": url}}


def test_a_picture_on_the_web_becomes_the_first_frame(
    hosted: tuple[OpenAI, Receiver], world: World, object_store: ObjectStore, tenant: Tenant
) -> None:
    client, host = hosted
    host.answers.append((200, {"content-type": "binary/octet-stream"}, media.picture("JPEG")))
    video = client.videos.create(prompt="it moves", size="256x144", extra_body=of_url(host.url("/a.jpg")))
    assert stored(world, object_store, tenant, video.id).size == (256, 144)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {"content-type": "image/png"}, b""), "its host did not answer with a picture"),
        ((302, {"location": "http://169.254.169.254/"}, b""), "its host did not answer with a picture"),
        ((200, {"content-type": "text/html"}, b"<html>"), "must call it image/jpeg"),
        ((200, {"content-type": "image/png"}, bytes(20 * 1024 * 1024 + 1)), "at most 20971520 bytes"),
        ((200, {"content-type": "image/png"}, b"<html>"), "could not be read"),
    ],
)
def test_what_the_host_answers_instead_is_told(hosted: tuple[OpenAI, Receiver], answer: Answer, message: str) -> None:
    client, host = hosted
    host.answers.append(answer)
    with pytest.raises(BadRequestError, match=message):
        client.videos.create(prompt="it moves", size="256x144", extra_body=of_url(host.url()))
    assert len(host.requests) == 1


def test_nobody_learns_which_names_exist_in_our_network(client: OpenAI) -> None:
    told = set[str]()
    for url in ("https://no-such-host.invalid/a.png", "https://10.0.0.1/a.png", "https://metadata/a.png"):
        with pytest.raises(BadRequestError) as refused:
            client.videos.create(prompt="it moves", size="256x144", extra_body=of_url(url))
        told.add(refused.value.message)
    assert len(told) == 1, told


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://[::1]:{port}/",
        "https://2130706433:{port}/",
        "https://user@example.com:{port}/",
        "HTTPS://0x7f.1:{port}/",
    ],
)
def test_no_url_leads_back_to_this_machine(client: OpenAI, url: str) -> None:
    with canary() as trap:
        with pytest.raises(BadRequestError, match="could not be fetched") as refused:
            client.videos.create(prompt="it moves", size="256x144", extra_body=of_url(url.format(port=trap.port)))
        assert refused.value.param == "input_reference"
        assert trap.connections == 0


def test_a_tenant_with_slow_hosts_leaves_room_for_others() -> None:
    fetcher = Fetcher(Crowd(), allow_loopback=True, room=replace(ROOM, patience_seconds=0.1))
    slow, other = ids.new_id(), ids.new_id()
    release = threading.Event()

    def stall(connection: socket.socket) -> None:
        release.wait(5)
        connection.sendall(b"HTTP/1.1 404 No\r\n\r\n")

    with raw_server(stall) as there, receiver((200, {"content-type": "image/png"}, b"pixels")) as host:
        url = f"http://127.0.0.1:{there.port}/"
        with ThreadPoolExecutor(ROOM.of_a_tenant) as threads:
            waiting = [threads.submit(fetcher.picture, slow, "mask", url) for _ in range(ROOM.of_a_tenant)]
            while there.accepted < ROOM.of_a_tenant:
                time.sleep(0.01)
            with pytest.raises(Unavailable, match="Too many pictures"):
                fetcher.picture(slow, "mask", host.url())
            assert fetcher.picture(other, "mask", host.url()) == b"pixels"
            release.set()
            for each in waiting:
                with pytest.raises(InvalidRequest):
                    each.result()
        host.answers.append((200, {"content-type": "image/png"}, b"pixels"))
        assert fetcher.picture(slow, "mask", host.url()) == b"pixels", "its places are free again"


def test_a_burst_of_pictures_waits_its_turn_within_bounds() -> None:
    fetcher, tenant_id = Fetcher(Crowd(), allow_loopback=True), ids.new_id()
    release = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        release.wait(5)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 6\r\n\r\npixels")

    def fetch() -> bytes | str:
        try:
            return fetcher.picture(tenant_id, "mask", f"http://127.0.0.1:{there.port}/")
        except Unavailable as full:
            return full.message[:8]

    with raw_server(answer) as there, ThreadPoolExecutor(10) as threads:
        sent = [threads.submit(fetch) for _ in range(10)]
        while sum(each.done() for each in sent) < 6 or there.accepted < ROOM.of_a_tenant:
            time.sleep(0.01)
        release.set()
        outcomes = [each.result() for each in sent]
    assert sorted(map(str, outcomes)) == ["Too many"] * 6 + ["b'pixels'"] * 4


def test_an_input_whose_video_is_refused_is_left_to_the_sweeper(client: OpenAI, world: World, tenant: Tenant) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant.id, Meter.MICROS, 0, Period.TOTAL)
    with pytest.raises(RateLimitError):
        client.videos.create(prompt="it moves", size="256x144", input_reference=("a.png", media.picture()))
    with world.database.transaction(tenant.id) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM objects WHERE doomed_at IS NOT NULL")) == 1
