from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.processes import Surroundings, answers, programs, table
from infra.embedded.process import Program

SIGNING = {
    "KINEMA_PROVENANCE_CERT_FILE": "/leaf.pem",
    "KINEMA_PROVENANCE_KEY_FILE": "/leaf.pem",
    "KINEMA_PROVENANCE_ROOT_FILE": "/root.pem",
}


def running(render_workers: int = 1) -> list[Program]:
    around = Surroundings(Path("/data"), {"KINEMA_API_PORT": "1"}, SIGNING, {"api": 1, "moderator": 2})
    return programs(table("render.small", render_workers), around)


def test_every_part_of_the_service_runs() -> None:
    assert [program.group for program in running()] == [
        "moderator",
        "dispatcher",
        "io_worker",
        "deliver_worker",
        "render_worker",
        "api",
    ]


def test_renderers_share_a_name_in_up_json_but_not_a_log() -> None:
    renderers = [program for program in running(3) if program.group == "render_worker"]
    assert [program.name for program in renderers] == ["render_worker-1", "render_worker-2", "render_worker-3"]
    assert len({program.log for program in renderers}) == 3
    assert all(program.argv[-2:] == ("--queue", "render.small") for program in renderers)


def test_only_the_process_that_publishes_knows_where_the_signing_key_is() -> None:
    knows = {program.group for program in running() if "KINEMA_PROVENANCE_KEY_FILE" in program.env}
    assert knows == {"io_worker"}
    assert all(program.env["KINEMA_PROVENANCE_ROOT_FILE"] == "/root.pem" for program in running())


@pytest.mark.parametrize(("cores", "workers", "threads"), [(8, 2, "4"), (2, 1, "2"), (2, 4, "1")])
def test_renderers_share_the_cores(cores: int, workers: int, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    for program in running(workers):
        torch = program.group in {"render_worker", "moderator"}
        assert program.env.get("OMP_NUM_THREADS") == (threads if torch else None)
        assert program.env.get("GOMP_SPINCOUNT") == ("100000" if torch else None)


def test_servers_and_processes_together_stop_within_twenty_seconds() -> None:
    assert max(program.grace for program in running()) + Program.__dataclass_fields__["grace"].default < 20


@pytest.fixture
def server() -> Iterator[int]:
    """Answers 200 to /well and 503 to everything else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/well" else 503)
            self.end_headers()
            self.wfile.write(b"why not")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_port
        listening.shutdown()


def test_an_answer_counts_only_when_it_is_a_good_one(server: int) -> None:
    answers(server, "/well")
    with pytest.raises(ConnectionError, match="/ill answered 503: why not"):
        answers(server, "/ill")
