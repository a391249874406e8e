"""`kinema health` on real processes' traces: it says well only of what works."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cli import main
from domain.lifecycle import Stage
from runtime.settings import variable_of
from storage import schedule, workers
from storage.database import Database
from storage.workers import Worker
from tests.fixtures.videos import World


@pytest.fixture(autouse=True)
def settings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "database_url": database_url,
        "redis_url": "redis://127.0.0.1:1/0",
        "s3_access_key": "none",
        "s3_secret_key": "none",
        "key_pepper": "none",
        "webhook_key": base64.b64encode(bytes(32)).decode(),
    }
    for name, value in values.items():
        monkeypatch.setenv(variable_of(name), value)


def health(role: str) -> int:
    return main.main(["health", role])


def report(database: Database, host: str) -> None:
    with database.transaction_for_any_tenant() as connection:
        workers.beat_for_any_tenant(connection, Worker(f"{host}:1", ("screen",), host, os.getpid()), "idle")


def test_a_worker_is_well_while_one_of_its_host_reports(database: Database) -> None:
    report(database, "another-host")
    assert health("worker") == 1
    report(database, socket.gethostname())
    assert health("worker") == 0


def test_a_dispatcher_is_ill_when_it_is_silent_or_leaves_leases_that_are_over(world: World) -> None:
    tenant = world.tenant()
    world.create(tenant)
    assert health("dispatcher") == 1
    report(world.database, socket.gethostname())
    assert health("dispatcher") == 0
    with world.database.transaction_for_any_tenant() as connection:
        schedule.claim_for_any_tenant(connection, Stage.SCREEN, "screen", "gone", lease_seconds=-120)
    assert health("dispatcher") == 1


def test_a_database_that_is_away_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINEMA_DATABASE_URL", "postgresql+psycopg://nobody:none@127.0.0.1:1/nothing")
    assert health("worker") == 1
    assert capsys.readouterr().err == "The database does not answer: OperationalError.\n"


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Tests stay silent."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(("role", "port"), [("api", "KINEMA_API_PORT"), ("moderator", "KINEMA_MODERATOR_PORT")])
def test_a_server_is_well_when_it_answers_200(
    role: str, port: str, server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(port, str(server.server_port))
    monkeypatch.setattr(Answer, "status", 200)
    assert health(role) == 0
    monkeypatch.setattr(Answer, "status", 503)
    assert health(role) == 1


def test_a_server_that_does_not_listen_is_ill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMA_API_PORT", "1")
    assert health("api") == 1
