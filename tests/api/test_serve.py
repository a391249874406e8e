"""The real server on a real socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from runtime.settings import Settings, variable_of
from tests.api.conftest import Tenant

PROGRAM = "from api.app import serve; from runtime.settings import load; serve(load())"
PASSED_ON = ("database_url", "redis_url", "s3_endpoint_url", "s3_access_key", "s3_secret_key", "s3_bucket")


@dataclass(frozen=True, slots=True)
class Server:
    process: subprocess.Popen[str]
    url: str


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    names = (*PASSED_ON, "key_pepper", "webhook_key")
    environment = {variable_of(name): str(getattr(settings, name)) for name in names}
    environment["KINEMA_API_PORT"] = str(free_port())
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    )
    yield Server(process, f"http://127.0.0.1:{environment['KINEMA_API_PORT']}")
    process.kill()
    process.communicate()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/healthz", trust_env=False).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not start")


def test_it_serves_logs_in_json_and_finishes_what_it_has_begun(server: Server, tenant: Tenant) -> None:
    wait_for(server.url)
    headers = {"authorization": f"Bearer {tenant.key}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as http:
        created = http.post("/v1/videos", json={"prompt": "a ball"}, headers={"x-client-request-id": "theirs-1"})
        assert created.status_code == 200
        assert "server" not in created.headers
        too_long = http.get("/v1/videos", headers={"x-padding": "x" * 256 * 1024})
        assert too_long.status_code == 400

        def slowly() -> Iterator[bytes]:
            yield b'{"prompt": '
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            yield b'"the last one"}'

        last = http.post("/v1/videos", content=slowly(), headers={"content-type": "application/json"})
        assert last.status_code == 200, "a request in hand is finished"
    started = time.monotonic()
    _, errors = server.process.communicate(timeout=20)
    assert time.monotonic() - started < 10
    assert server.process.returncode in {0, -signal.SIGTERM}
    lines = [json.loads(line) for line in errors.splitlines()]
    answered = next(line for line in lines if line.get("route") == "/v1/videos" and line["status"] == 200)
    assert answered["request_id"] == created.headers["x-request-id"]
    assert answered["client_request_id"] == "theirs-1"
    assert tenant.key not in errors
