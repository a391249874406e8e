"""A client of progress streams, and a real server in a thread of the test."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.app import _Server, create_app
from runtime.settings import Settings
from tests.api.conftest import Tenant


@dataclass(frozen=True)
class Sent:
    """One event as a client reads it."""

    type: str
    data: dict[str, Any]
    id: str | None


@dataclass(frozen=True)
class Live:
    """A serving process, as far as a thread can be one."""

    app: FastAPI
    server: uvicorn.Server
    url: str

    @property
    def open_streams(self) -> int:
        return len(self.app.state.services.streams)

    def wait_for_streams(self, count: int, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while self.open_streams != count:
            assert time.monotonic() < deadline, f"{self.open_streams} streams are open, not {count}"
            time.sleep(0.02)

    @contextmanager
    def stream(self, tenant: Tenant, video_id: str, **headers: str) -> Iterator[httpx.Response]:
        with (
            httpx.Client(trust_env=False, timeout=20) as client,
            client.stream("GET", address(self.url, video_id), headers=signed(tenant, headers)) as answer,
        ):
            yield answer


def address(url: str, video_id: str) -> str:
    return f"{url}/v1/videos/{video_id}/events"


def signed(tenant: Tenant, headers: dict[str, str]) -> dict[str, str]:
    return {"authorization": f"Bearer {tenant.key}", **{name.replace("_", "-"): text for name, text in headers.items()}}


def events(lines: Iterator[str]) -> Iterator[Sent]:
    """Parse as the standard says, comments left out."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, text = line.partition(":")
        if line == "":
            if "data" in fields:
                yield Sent(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id"))
            fields = {}
        elif name:
            fields[name] = text.removeprefix(" ")


@contextmanager
def serving(settings: Settings) -> Iterator[Live]:
    """A server on a free port until the block ends."""
    app = create_app(settings)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(app, http="h11", log_config=None, access_log=False, timeout_graceful_shutdown=10)
    server = _Server(config, app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="live")
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Live(app, server, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive(), "the server stops"
