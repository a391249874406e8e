"""An object store that takes every connection and then says nothing, or stops in the middle."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
import pytest
from anyio.to_thread import run_sync
from botocore.exceptions import BotoCoreError
from fastapi.testclient import TestClient
from openai import OpenAI
from PIL import Image

from api.app import create_app
from domain.lifecycle import State
from runtime.settings import Settings
from storage.database import POOL_SIZE
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.api.stages import bring
from tests.fixtures.videos import World

PROMPT_SECONDS = 3.5  # of which a probe may take two; waiting for the store takes five
BEGINNING = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\ncontent-type: video/mp4\r\n\r\n0123456789"


class Hole:
    """Listens on loopback. Each connection gets `beginning` when it has sent something, and nothing more."""

    def __init__(self, beginning: bytes = b"") -> None:
        self._beginning = beginning
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                self._ends.append(end)
                if self._beginning:
                    end.recv(65536)
                    end.sendall(self._beginning)


@pytest.fixture
def hole() -> Iterator[Hole]:
    opened = Hole()
    yield opened
    opened.close()


def app_on(settings: Settings, url: str, tenant: Tenant) -> TestClient:
    fields: dict[str, Any] = {name: getattr(settings, name) for name in Settings.__slots__}
    app = create_app(Settings(**fields | {"s3_endpoint_url": url}))
    return TestClient(app, headers={"authorization": f"Bearer {tenant.key}"})


@pytest.fixture
def url(client: OpenAI, world: World, object_store: ObjectStore) -> str:
    video = client.videos.create(prompt="a ball")
    bring(world, State.COMPLETED, object_store)
    return f"/v1/videos/{video.id}/content"


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    answer = call()
    return answer, time.monotonic() - started


def expect_others_are_served(http: TestClient) -> None:
    for path in ("/healthz", "/v1/videos", "/readyz"):
        answer, seconds = timed(lambda path=path: http.get(path))
        assert (answer.status_code, seconds < PROMPT_SECONDS) == (200, True), (path, seconds)


def test_downloads_that_wait_for_it_leave_room_for_everybody_else(
    settings: Settings, tenant: Tenant, url: str, hole: Hole
) -> None:
    with app_on(settings, hole.url, tenant) as http, ThreadPoolExecutor(40) as clients:
        downloads = [clients.submit(timed, lambda: http.get(url)) for _ in range(40)]
        time.sleep(0.5)
        expect_others_are_served(http)
        assert http.get("/readyz").json() == {"status": "ready", "database": True, "redis": True, "s3": False}
        answers = [download.result() for download in downloads]
    assert {answer.status_code for answer, _ in answers} == {503}
    assert {answer.headers["retry-after"] for answer, _ in answers} == {"2"}
    assert {answer.json()["error"]["type"] for answer, _ in answers} == {"server_error"}
    assert max(seconds for _, seconds in answers) < 8
    assert 8 <= sum(seconds > 4 for _, seconds in answers) <= 16, "eight wait for the store, the others are sent away"


@pytest.mark.parametrize("noise", [False, True])
def test_an_input_does_not_wait_for_it_for_long(settings: Settings, tenant: Tenant, hole: Hole, *, noise: bool) -> None:
    picture, size = BytesIO(), (256, 144) if noise else (720, 1280)
    image = Image.effect_noise(size, 100).convert("RGB") if noise else Image.new("RGB", size)
    image.save(picture, "PNG")
    form = {"prompt": (None, "it moves"), "size": (None, f"{size[0]}x{size[1]}")}
    with app_on(settings, hole.url, tenant) as http:
        files = {**form, "input_reference": ("a.png", picture.getvalue())}
        answer, seconds = timed(lambda: http.post("/v1/videos", files=files))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert seconds < 9


def test_downloads_that_stop_in_the_middle_leave_room_for_everybody_else(
    settings: Settings, tenant: Tenant, url: str
) -> None:
    hole = Hole(BEGINNING)

    def download(http: TestClient) -> None:
        with pytest.raises(BotoCoreError):  # the answer has begun: breaking it off is all that is left
            http.get(url)

    with app_on(settings, hole.url, tenant) as http, ThreadPoolExecutor(POOL_SIZE) as clients:
        downloads: list[Any] = []
        for _ in range(POOL_SIZE // 4):
            downloads += [clients.submit(download, http) for _ in range(4)]
            time.sleep(0.2)
        expect_others_are_served(http)
        hole.close()
        for each in downloads:
            each.result()


def test_health_is_told_while_every_request_thread_hangs(fresh_app: TestClient) -> None:
    release, hanging = threading.Event(), threading.Barrier(POOL_SIZE + 1)

    def hang() -> None:
        hanging.wait(10)
        release.wait(30)

    assert fresh_app.portal is not None
    stuck = [fresh_app.portal.start_task_soon(run_sync, hang) for _ in range(POOL_SIZE)]
    try:
        hanging.wait(10)
        with ThreadPoolExecutor(1) as client:
            for path in ("/healthz", "/readyz", "/metrics"):
                assert client.submit(fresh_app.get, path).result(5).status_code == 200, path
    finally:
        release.set()
    for each in stuck:
        each.result()
