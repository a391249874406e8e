"""`kinema up` as users run it: everything starts, what dies comes back, a signal ends all of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.infra.embedded.keeper import ROOT, eventually, gone

pytestmark = pytest.mark.timeout(300)  # each start takes seconds, and many more when the machine is busy

GROUPS = {
    *("api", "dispatcher", "moderator", "io_worker", "deliver_worker", "render_worker"),
    *("postgres", "valkey", "seaweedfs"),
}


@dataclass(frozen=True, slots=True)
class Up:
    """The launcher and what it said."""

    process: subprocess.Popen[str]
    data: Path
    said: dict[str, Any]

    def file(self) -> dict[str, Any]:
        return json.loads((self.data / "up.json").read_text())

    def get(self, path: str, key: str) -> int:
        """The status of a request to the API."""
        return httpx.get(f"{self.said['base_url']}{path}", headers={"Authorization": f"Bearer {key}"}).status_code


@contextlib.contextmanager
def up(data: Path, *options: str) -> Iterator[Up]:
    command = [sys.executable, "-m", "cli.main", "up", "--data", str(data), "--model", "testcard", "--json", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Up(process, data, json.loads(process.stdout.readline()))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=25)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One system for the tests that leave it running."""
    with up(tmp_path_factory.mktemp("up") / "data") as one:
        yield one


def test_its_admin_key_opens_the_admin_api_and_no_other(running: Up) -> None:
    said = running.said
    headers = {"Authorization": f"Bearer {said['admin_key']}"}
    admin = said["base_url"].removesuffix("/v1") + "/admin/v1"
    me = httpx.get(f"{admin}/me", headers=headers).json()
    assert (me["role"], me["name"]) == ("admin", "first key")
    made = httpx.get(f"{admin}/audit", headers=headers).json()["data"]
    assert [each["action"] for each in made] == ["admin_key.created", "key.created", "tenant.created"]
    assert {each["actor"] for each in made} == {"cli:up"}
    assert running.get("/models", said["admin_key"]) == 401


def test_it_says_on_one_line_what_up_json_says(running: Up) -> None:
    written = running.file()
    processes = written.pop("processes")
    assert written == running.said
    assert set(processes) == GROUPS
    assert running.said["base_url"].endswith("/v1")
    assert running.said["webhook_loopback"] is True
    assert Path(running.said["trust_root"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert stat.S_IMODE((running.data / "up.json").stat().st_mode) == 0o600


def test_the_key_that_it_gives_opens_the_api_and_another_does_not(running: Up) -> None:
    assert running.get("/models", running.said["api_key"]) == 200
    assert running.get("/models", "sk_kinema_wrong") == 401


@pytest.mark.parametrize("group", ["render_worker", "dispatcher", "api", "moderator"])
def test_what_dies_is_back_within_two_seconds(running: Up, group: str) -> None:
    eventually(lambda: len(running.file()["processes"][group]) == 1)
    (victim,) = running.file()["processes"][group]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: running.file()["processes"][group] not in ([], [victim]), within=2.0)
    eventually(lambda: running.get("/models", running.said["api_key"]) == 200, within=20)


def test_a_second_one_on_the_same_data_is_refused_and_disturbs_nothing(running: Up) -> None:
    before = running.file()
    command = [sys.executable, "-m", "cli.main", "up", "--data", str(running.data)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert second.returncode == 1
    assert f"already runs on {running.data}" in second.stderr
    assert "Traceback" not in second.stderr
    assert running.file() == before


def test_a_killed_launcher_leaves_nothing_behind_and_the_next_one_goes_on_until_a_signal(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(data) as first:
        pids = [pid for group in first.file()["processes"].values() for pid in group]
        first.process.kill()
        eventually(lambda: gone(pids), within=10)
    with up(data, "--render-workers", "2") as second:
        assert second.said == first.said
        assert second.get("/models", first.said["api_key"]) == 200
        pids = [pid for group in second.file()["processes"].values() for pid in group]
        assert len(second.file()["processes"]["render_worker"]) == 2
        begun = monotonic()
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(timeout=25) == 0
        assert monotonic() - begun < 20
        assert gone(pids)
        assert not (data / "up.json").exists()
