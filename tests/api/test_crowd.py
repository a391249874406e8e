"""Everything slow at once: hosts of pictures, the moderator, receivers and the store take connections and say nothing.

More of it is asked for than a process has request threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.services import Services
from api.turns import MOST_SLOW
from runtime.settings import Settings
from storage.database import POOL_SIZE
from tests.api.conftest import Tenant
from tests.api.test_silent_store import Hole, hole, timed

__all__ = ["hole"]

TENANTS = 5
PROMPT_SECONDS = 2.0  # the fastest of the slow calls hangs for five


@pytest.fixture
def hung(settings: Settings, hole: Hole) -> Iterator[TestClient]:
    far = replace(settings, s3_endpoint_url=hole.url, moderation_url=hole.url, webhook_allow_loopback=True)
    with TestClient(create_app(far)) as opened:
        yield opened


def slow_calls(http: TestClient, far: str, tenant: Tenant) -> list[Callable[[], httpx.Response]]:
    """Nine of them, each as a client of the tenant sends it."""
    mine = {"authorization": f"Bearer {tenant.key}"}
    endpoint = {"name": "far", "url": f"{far}/hook", "event_types": ["video.completed"]}
    hook = http.post("/v1/webhook_endpoints", json=endpoint, headers=mine)
    assert hook.status_code == 200, hook.text
    picture = {"prompt": "it moves", "size": "720x1280", "input_reference": {"image_url": f"{far}/a.png"}}
    lines = {"purpose": (None, "batch"), "file": ("a.jsonl", b'{"custom_id": "1"}\n')}
    return [
        *[lambda: http.post("/v1/videos", json=picture, headers=mine)] * 3,
        *[lambda: http.post("/v1/files", files=lines, headers=mine)] * 3,
        *[lambda: http.post("/v1/moderations", json={"input": "a ball"}, headers=mine)] * 2,
        lambda: http.post(
            f"/v1/webhook_endpoints/{hook.json()['id']}/test", json={"event_type": "video.completed"}, headers=mine
        ),
    ]


def test_slow_work_of_every_kind_leaves_threads_to_everybody_else(
    hung: TestClient, hole: Hole, new_tenant: Callable[[str], Tenant]
) -> None:
    crowd = [call for number in range(TENANTS) for call in slow_calls(hung, hole.url, new_tenant(f"slow {number}"))]
    prompt = {"authorization": f"Bearer {new_tenant('prompt').key}"}
    served: Services = hung.app.state.services  # type: ignore[attr-defined] - Starlette types the application as any callable
    with ThreadPoolExecutor(len(crowd)) as clients:
        sent: list[Future[tuple[httpx.Response, float]]] = [clients.submit(timed, call) for call in crowd]
        until = time.monotonic() + 4
        while served.crowd._inside.total() < MOST_SLOW:
            assert time.monotonic() < until, "the crowd never filled up"
            time.sleep(0.005)
        took = []
        for _ in range(10):
            made, to_make = timed(lambda: hung.post("/v1/videos", json={"prompt": "a ball"}, headers=prompt))
            read, to_read = timed(partial(hung.get, f"/v1/videos/{made.json()['id']}", headers=prompt))
            assert (made.status_code, read.status_code) == (200, 200)
            took += [to_make, to_read]
        hanging = sum(not each.done() for each in sent)
        hole.close()
        wait(sent, 30)
    print(f"{len(crowd)} slow calls, {hanging} hang; slowest ordinary request {max(took):.3f} s")
    assert len(crowd) > 2 * POOL_SIZE
    assert hanging > POOL_SIZE // 2, "else nothing was slow"
    assert max(took) < PROMPT_SECONDS
    refused = [answer for answer, _ in (each.result() for each in sent) if answer.status_code == 503]
    full = [answer for answer in refused if "slow work" in answer.json()["error"]["message"]]
    assert full, "the crowd was full"
    assert {(answer.headers["retry-after"], answer.json()["error"]["type"]) for answer in full} == {
        ("2", "server_error")
    }
