"""Where it is measured: throw-away servers, tenants, and API processes with the benchmark's routes."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import migrations
from domain.ledger import Meter
from domain.quotas import Period
from infra.embedded.stack import Endpoints
from storage import keys, ledger, tenants
from storage.bootstrap import bootstrap
from storage.database import Database
from storage.objects import ObjectStore

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
PLENTY = 10**15  # a limit that is looked at and never reached
LIMITS = {"requests_per_minute": 10**9, "creates_per_minute": 10**9}


@dataclass(frozen=True, slots=True)
class Venue:
    """Running servers with a migrated database, and the settings of the processes on them."""

    endpoints: Endpoints
    environment: dict[str, str]
    database: Database
    owner: Database

    def tenants(self, count: int, *, limited: bool) -> list[str]:
        """A key of each of so many new tenants, with every limit set that there is, or with none."""
        peppers = {"1": self.environment["KINEMA_KEY_PEPPER"].encode()}
        made: list[str] = []
        with self.database.transaction_for_any_tenant() as connection:
            for _ in range(count):
                name = f"bench-{secrets.token_hex(4)}"
                tenant = tenants.create_for_any_tenant(connection, name, **(LIMITS if limited else {}))
                for meter in Meter if limited else ():
                    ledger.set_limit(connection, tenant.id, meter, PLENTY, Period.DAY)
                made.append(keys.create(connection, tenant.id, {"name": "bench"}, peppers)[1])
        return made

    def objects(self) -> ObjectStore:
        """The bucket, as the API opens it."""
        at = self.endpoints
        return ObjectStore(at.s3_endpoint_url, at.s3_access_key, at.s3_secret_key, at.s3_bucket, region=at.s3_region)

    def postgres(self) -> tuple[str, int]:
        """Host and port."""
        at = urlsplit(self.endpoints.database_url)
        return at.hostname or "127.0.0.1", at.port or 5432

    @contextmanager
    def api(self, **settings: str) -> Generator[int]:
        """One API process; its port."""
        port = _free_port()
        environment = {**os.environ, **self.environment, **settings, "KINEMA_API_PORT": str(port)}
        process = subprocess.Popen([sys.executable, "-m", "cli.bench.server"], cwd=ROOT, env=environment)
        try:
            _wait_until_ready(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def venue() -> Generator[Venue]:
    """Servers of this run alone; nothing of them is left behind."""
    with ExitStack() as stack:
        data = Path(tempfile.mkdtemp(prefix="kinema-bench-"))
        command = [sys.executable, "-m", "infra.embedded", "--data", str(data), "--throw-away"]
        servers = subprocess.Popen([*command, "--until-exit-of", str(os.getpid())], cwd=ROOT, stdout=subprocess.DEVNULL)
        stack.callback(servers.wait, 25)
        stack.callback(servers.terminate)
        state = _state(data / "stack.json", servers)
        endpoints = Endpoints.read(state["endpoints"])
        bootstrap(endpoints.owner_database_url, state["app_password"])
        migrations.upgrade(endpoints.owner_database_url)
        database, owner = Database(endpoints.database_url), Database(endpoints.owner_database_url, pool_size=1)
        stack.callback(database.close)
        stack.callback(owner.close)
        made = Venue(endpoints, {**endpoints.environment(), **_secrets()}, database, owner)
        made.objects().ensure_bucket()
        yield made


def _secrets() -> dict[str, str]:
    return {
        "KINEMA_KEY_PEPPER": secrets.token_hex(32),
        "KINEMA_WEBHOOK_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "KINEMA_TESTCARD": "true",
    }


def _state(path: Path, servers: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while not path.exists():
        if servers.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the embedded servers did not start")
        time.sleep(0.05)
    return json.loads(path.read_text())


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError("the API did not start")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
