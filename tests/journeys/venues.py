"""The system as the conformance suites meet it: tenants of every kind, and API processes with other settings."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image

from domain.keys import Scope
from domain.ledger import Meter
from domain.quotas import Period
from storage import keys, ledger, tenants
from storage.database import Database
from tests.journeys.system import ROOT, System, eventually, free_port

BRIEF_SECONDS = 3  # how long the results of one tenant are kept
TENANTS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("alice", "other", "lister", "deleter", "hooked", "poor", "retrier")},
    "brief": {"retention_seconds": BRIEF_SECONDS},
    "reader": {},
    "hasty": {"creates_per_minute": 1},
}
NOWHERE = "postgresql+psycopg://nobody:nothing@127.0.0.1:1/nothing"


def api_environment(system: System) -> dict[str, str]:
    """The settings of the running API process."""
    return psutil.Process(system.pids("api")[0]).environ()


@contextmanager
def another_api(system: System, log: Path, **settings: str) -> Iterator[str]:
    """One more API process of the same system under other settings; its base URL."""
    port = free_port()
    environment = {**api_environment(system), **settings, "KINEMA_API_PORT": str(port)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", "api"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        eventually(lambda: _listens(port) or process.poll() is not None, within=60)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == httpx.codes.OK
    return False


@contextmanager
def database_of(system: System) -> Iterator[Database]:
    """The product's own pool on the running system."""
    database = Database(api_environment(system)["KINEMA_DATABASE_URL"], pool_size=1)
    yield database
    database.close()


def new_keys(system: System) -> dict[str, str]:
    """A key of a fresh tenant for each name."""
    pepper = api_environment(system)["KINEMA_KEY_PEPPER"].encode()
    made: dict[str, str] = {}
    with database_of(system) as database, database.transaction_for_any_tenant() as connection:
        for name, columns in TENANTS.items():
            tenant = tenants.create_for_any_tenant(connection, f"{name}-{os.urandom(4).hex()}", **columns)
            scopes = [Scope.VIDEOS_READ] if name == "reader" else []
            _, made[name] = keys.create(connection, tenant.id, {"name": "test", "scopes": scopes}, {"1": pepper})
            if name == "poor":
                ledger.set_limit(connection, tenant.id, Meter.MICROS, 1, Period.TOTAL)
    return made


def facts(system: System, urls: Mapping[str, str], pictures: Path) -> dict[str, Any]:
    """What a suite must know, its tenants made for it alone."""
    return {
        "base_url": system.facts["base_url"],
        "keys": new_keys(system),
        "pictures": str(pictures),
        "brief_seconds": BRIEF_SECONDS,
        **urls,
    }


def draw_pictures(folder: Path) -> Path:
    """Pictures of the size that the suites ask for, in three formats, and one of another size."""
    folder.mkdir()
    for kind in ("png", "jpeg", "webp"):
        Image.linear_gradient("L").resize((1280, 720)).convert("RGB").save(folder / f"fits.{kind}")
    Image.new("RGB", (640, 480), "teal").save(folder / "other.png")
    return folder


def node_project() -> Path:
    """The Node suite with its one dependency, as its lock file has it."""
    npm = shutil.which("npm")
    assert npm is not None, "the Node client is a line of the contract: install nodejs (20 or newer) and npm"
    project = ROOT / "tests" / "node"
    subprocess.run(
        [npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=project, check=True, stdin=subprocess.DEVNULL
    )
    return project


def interpreter(version: str) -> Path:
    """A virtual environment with that `openai`, made once beside our own."""
    home = Path(sys.prefix) / "clients" / f"openai-{version}"
    python = home / "bin" / "python"
    whole = home / "whole"  # an install that failed half-way is made again
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of a test run want the same one
        if not whole.exists():
            shutil.rmtree(home, ignore_errors=True)
            uv = [str(Path(sys.prefix) / "bin" / "uv")]
            subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(home)], check=True)
            subprocess.run([*uv, "pip", "install", "-q", "--python", str(python), f"openai=={version}"], check=True)
            whole.touch()
    return python
