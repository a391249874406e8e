"""Thousands of progress streams that do nothing, most of them beyond the cap, at the real server."""

from __future__ import annotations

import os
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import psutil
import pytest
import sqlalchemy as sa

from domain import ids
from runtime.settings import Settings, variable_of
from tests.api.conftest import Tenant
from tests.api.sse import address
from tests.api.test_serve import PASSED_ON, PROGRAM, Server, free_port, wait_for
from tests.fixtures.videos import World
from tests.journeys.system import eventually

CROWD = 2_000
CAP = 500
MOST_MEBIBYTES = 150
PROMPT_SECONDS = 1.0


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    """As it is run; nobody reads its log."""
    names = (*PASSED_ON, "key_pepper", "webhook_key")
    environment = {variable_of(name): str(getattr(settings, name)) for name in names}
    environment["KINEMA_API_PORT"] = str(free_port())
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL, text=True)
    yield Server(process, f"http://127.0.0.1:{environment['KINEMA_API_PORT']}")
    process.kill()
    process.wait()


def memory(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20


def sockets_of(process: psutil.Process, port: int) -> int:
    found = process.net_connections("tcp")
    return sum(each.laddr.port == port and each.status != psutil.CONN_LISTEN for each in found)


class Crowd:
    """Connections that ask for a stream each, and what the first line of their answers says."""

    def __init__(self, stack: ExitStack, request: bytes, host: str, port: int) -> None:
        self.heard: dict[socket.socket, bytes] = {}
        self._selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(CROWD):
            client = stack.enter_context(socket.create_connection((host, port), timeout=10))
            client.sendall(request)
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ)
            self.heard[client] = b""

    def answered(self) -> bool:
        for key, _ in self._selector.select(0.1):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            more = client.recv(65_536)
            self.heard[client] += more
            if not more:
                self._selector.unregister(client)
        return all(self._whole(heard) for heard in self.heard.values())

    @staticmethod
    def _whole(heard: bytes) -> bool:
        return heard.startswith(b"HTTP/1.1 200") or heard.endswith(b"}")

    def statuses(self) -> Counter[bytes]:
        return Counter(heard[9:12] for heard in self.heard.values())


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_crowd_beyond_the_cap_is_sent_away_and_holds_nobody_up(server: Server, tenant: Tenant, world: World) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * CROWD:
        pytest.skip("too few open files are allowed")
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text("UPDATE tenants SET streams = :n WHERE id = :id"), {"n": CAP, "id": tenant.id})
    video = ids.public(ids.Kind.VIDEO, world.create(tenant.id))
    wait_for(server.url)
    host, _, port = server.url.removeprefix("http://").partition(":")
    key = {"authorization": f"Bearer {tenant.key}"}
    head = (
        f"GET {address('', video)} HTTP/1.1",
        "host: x",
        "connection: close",
        f"authorization: {key['authorization']}",
    )
    process = psutil.Process(server.process.pid)
    with httpx.Client(base_url=server.url, headers=key, trust_env=False, timeout=30) as client:
        assert client.get("/v1/videos").status_code == 200
        before, sockets = memory(process), sockets_of(process, int(port))
        with ExitStack() as stack:
            begun = time.monotonic()
            crowd = Crowd(stack, "\r\n".join((*head, "", "")).encode(), host, int(port))
            eventually(crowd.answered, within=100, every=0)
            took, grown = time.monotonic() - begun, memory(process) - before
            assert crowd.statuses() == {b"200": CAP, b"429": CROWD - CAP}
            refusal = next(heard for heard in crowd.heard.values() if heard[9:12] == b"429")
            assert b'"code":"rate_limit_exceeded"' in refusal
            assert b"retry-after: 5" in refusal
            begun = time.monotonic()
            assert client.get(f"/v1/videos/{video}").status_code == 200
            waited = time.monotonic() - begun
            threads = process.num_threads()
        gone = eventually(lambda: sockets_of(process, int(port)) <= sockets, within=20)
        with client.stream("GET", f"/v1/videos/{video}/events") as again:
            assert again.status_code == 200, "the places are free"
    print(
        f"{CROWD} answered in {took:.1f} s, {CAP} streams of them: {grown:.0f} MiB more, {threads} threads,"
        f" a GET takes {waited * 1000:.0f} ms; all gone {gone:.1f} s after their clients"
    )
    assert grown < MOST_MEBIBYTES
    assert waited < PROMPT_SECONDS
