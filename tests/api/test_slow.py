"""Clients that send or read so slowly that they would hold their place for ever, at the real server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import psutil
import pytest

from domain.lifecycle import State
from runtime.settings import Settings, variable_of
from storage.objects import ObjectStore
from storage.outputs import Kind
from tests.api import stages
from tests.api.conftest import Tenant
from tests.api.test_serve import PASSED_ON, Server, free_port
from tests.fixtures.videos import World
from tests.journeys.system import eventually

PROGRAM = """
from api import slow
slow.HEAD_SECONDS, slow.TAKING_SECONDS = 2.0, 2.0
from api.app import serve
from runtime.settings import load
serve(load())
"""
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[Server]:
    environment = {
        variable_of(name): str(getattr(settings, name)) for name in (*PASSED_ON, "key_pepper", "webhook_key")
    }
    environment |= {"KINEMA_API_PORT": str(free_port()), "KINEMA_MAX_UPLOAD_BYTES": str(LIMIT)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, text=True)
    started = Server(process, f"http://127.0.0.1:{environment['KINEMA_API_PORT']}")
    try:
        eventually(lambda: answers(started), within=90)
        yield started
    finally:
        process.kill()
        process.wait()


def answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def address_of(server: Server) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return host, int(port)


def connect(server: Server, taking: int = 0) -> socket.socket:
    """A client; `taking` so many bytes before it reads them."""
    client = socket.socket()
    if taking:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, taking)
    client.settimeout(10)
    client.connect(address_of(server))
    return client


def clients_of(server: Server) -> int:
    """Open connections of the server, from the kernel; those to its own servers do not count."""
    _, port = address_of(server)
    found = psutil.Process(server.process.pid).net_connections("tcp")
    return sum(each.laddr.port == port and each.status != psutil.CONN_LISTEN for each in found)


def test_heads_that_never_end_are_given_up_and_hold_nobody_up(server: Server) -> None:
    slow = [connect(server) for _ in range(100)]
    for number, each in enumerate(slow):
        each.sendall(b"" if number % 2 else b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: ")
    begun = time.monotonic()
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    assert time.monotonic() - begun < 5
    for each in slow:
        assert each.recv(100).startswith(b"HTTP/1.1 408")
        assert each.recv(100) == b""
        each.close()
    print(f"100 given up after {time.monotonic() - begun:.1f} s")


def test_one_byte_at_a_time_buys_no_more_time(server: Server) -> None:
    answered = b""
    with connect(server) as slow:
        slow.settimeout(0.1)
        begun = time.monotonic()
        while not answered and time.monotonic() - begun < 20:
            slow.sendall(b"G")
            try:
                answered = slow.recv(100)
            except TimeoutError:
                continue
    assert answered.startswith(b"HTTP/1.1 408")


def test_a_connection_that_is_kept_alive_may_rest_and_go_on(server: Server) -> None:
    with connect(server) as calm:
        for _ in range(2):
            calm.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += calm.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(2.5)


def test_bodies_beyond_the_limit_are_refused_before_they_are_read(server: Server, tenant: Tenant) -> None:
    begin = f"POST /v1/videos HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {tenant.key}\r\n"
    begin += "content-type: application/json\r\n"
    with connect(server) as declared:
        declared.sendall(f"{begin}content-length: {10**12}\r\n\r\n".encode())
        assert declared.recv(4096).startswith(b"HTTP/1.1 413")
    sent = 0
    with connect(server) as chunked:
        chunked.sendall(f"{begin}transfer-encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            while sent < 100 * LIMIT:
                chunked.sendall(chunk)
                sent += 0x10000
                chunked.settimeout(0.001)
                try:
                    if chunked.recv(16, socket.MSG_PEEK):
                        break
                except TimeoutError:
                    chunked.settimeout(10)
        except (BrokenPipeError, ConnectionResetError):
            pass
        chunked.settimeout(10)
        answer = chunked.recv(4096)
        while b"}" not in answer:
            answer += chunked.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"error"' in answer
    assert sent < 10 * LIMIT
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200


def download(tenant: Tenant, video: str) -> bytes:
    lines = (f"GET /v1/videos/{video}/content HTTP/1.1", "host: x", f"authorization: Bearer {tenant.key}")
    return "\r\n".join((*lines, "connection: close", "", "")).encode()


def test_downloads_that_nobody_reads_are_given_up(
    server: Server, tenant: Tenant, world: World, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1 << 20) * 24
    monkeypatch.setitem(stages.FILES, Kind.VIDEO, content)
    key = {"authorization": f"Bearer {tenant.key}"}
    with (
        httpx.Client(base_url=server.url, headers=key, trust_env=False, timeout=30) as client,
        ExitStack() as silent,
    ):
        video = client.post("/v1/videos", json={"prompt": "a ball"}).json()["id"]
        stages.bring(world, State.COMPLETED, object_store)
        asked = download(tenant, video)
        before = clients_of(server)
        for _ in range(40):  # more than the store has connections
            silent.enter_context(connect(server, taking=4096)).sendall(asked)
        begun = time.monotonic()
        assert client.get("/v1/videos").status_code == 200, "others are answered"
        eventually(lambda: clients_of(server) <= before, within=40)
        print(f"40 silent downloads given up after {time.monotonic() - begun:.1f} s")
        assert client.get(f"/v1/videos/{video}/content").content == content, "the store's connections are free"


def test_a_download_that_is_read_slowly_comes_whole(
    server: Server, tenant: Tenant, world: World, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1 << 20) * 8
    monkeypatch.setitem(stages.FILES, Kind.VIDEO, content)
    key = {"authorization": f"Bearer {tenant.key}"}
    video = httpx.post(f"{server.url}/v1/videos", json={"prompt": "a ball"}, headers=key, trust_env=False).json()["id"]
    stages.bring(world, State.COMPLETED, object_store)
    with connect(server, taking=8192) as slow:
        slow.sendall(download(tenant, video))
        taken, begun = bytearray(), time.monotonic()
        while time.monotonic() - begun < 7:  # three times as long as a client that takes nothing has
            taken += slow.recv(2048)
            time.sleep(0.2)
        slowly = len(taken)
        while more := slow.recv(1 << 16):
            taken += more
    assert taken.endswith(content), f"{len(taken)} bytes"
    print(f"{slowly} bytes in the first 7 s")
