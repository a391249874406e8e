"""The whole system as real processes, found through up.json alone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from openai import OpenAI

from infra.embedded.credentials import Credentials
from infra.embedded.postgres import OWNER, Postgres

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class System:
    """A running `kinema up`."""

    data: Path
    process: subprocess.Popen[bytes]

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.data / "up.json").read_text())

    def client(self, **options: Any) -> OpenAI:
        return OpenAI(base_url=self.facts["base_url"], api_key=self.facts["api_key"], **options)

    def pids(self, name: str) -> list[int]:
        return self.facts["processes"].get(name, [])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> list[int]:
        """Signal every process of that name; the pids that were hit."""
        hit = self.pids(name)
        for pid in hit:
            with contextlib.suppress(ProcessLookupError):  # dead already, and not yet noticed
                os.kill(pid, number)
        return hit

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database says, past row-level security."""
        url = owner_url(self.data)
        with psycopg.connect(url) as connection:
            return connection.execute(query, values).fetchall()


def owner_url(data: Path) -> str:
    """The embedded database as its owner."""
    ports, credentials = json.loads((data / "ports.json").read_text()), Credentials.of(data)
    url = Postgres(data, ports["postgres"], credentials.postgres_owner).url(OWNER, credentials.postgres_owner)
    return url.replace("+psycopg", "")


@contextmanager
def running(
    data: Path, *arguments: str, environment: Mapping[str, str] | None = None, module: str = "cli.main"
) -> Iterator[System]:
    """`kinema up` for as long as the block lasts."""
    port = ["--port", str(free_port())]  # several of these may start at once, and all prefer the same port
    command = [sys.executable, "-m", module, "up", "--data", str(data), "--json", *port, *arguments]
    with (data.parent / "up.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        eventually(lambda: (data / "up.json").exists() or process.poll() is not None, within=90)
        assert process.poll() is None, (data.parent / "up.log").read_text()
        yield System(data, process)
    finally:
        process.terminate()
        assert process.wait(30) is not None


def free_port() -> int:
    """One that nobody has just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def eventually(condition: Callable[[], object], within: float, every: float = 0.1) -> float:
    """Wait until the condition holds; the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within, f"not within {within} s"
        time.sleep(every)
    return time.monotonic() - begun
