from __future__ import annotations

import base64
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from domain.lifecycle import Stage
from moderation.signing import development_identity
from runtime.settings import Secret, Settings
from storage.objects import ObjectStore
from tests.fixtures.run import RunningStack
from tests.fixtures.videos import QUEUES
from worker.process import Process

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(
    stack: RunningStack, database_url: str, redis_url: str, object_store: ObjectStore, tmp_path: Path
) -> Settings:
    """Real servers, quick beats, a signing identity of this test."""
    _, root = development_identity(tmp_path / "identity")
    at = stack.endpoints
    return Settings(
        database_url=Secret(database_url),
        redis_url=Secret(redis_url),
        s3_endpoint_url=at.s3_endpoint_url,
        s3_access_key=Secret(at.s3_access_key),
        s3_secret_key=Secret(at.s3_secret_key),
        s3_bucket=object_store.bucket,
        key_pepper=Secret("pepper"),
        webhook_key=Secret(base64.b64encode(bytes(32)).decode()),
        provenance_cert_file=str(tmp_path / "identity" / "leaf.pem"),
        provenance_key_file=str(tmp_path / "identity" / "leaf.pem"),
        provenance_root_file=str(root),
        models_file=str(ROOT / "models.toml"),
        testcard=True,
        lease_seconds=2.0,
        beat_seconds=0.2,
        cancel_poll_seconds=0.05,
        grace_seconds=0.5,
        work_dir=str(tmp_path),
    )


@pytest.fixture
def process(settings: Settings) -> Iterator[Process]:
    """What a worker of every queue owns."""
    made = Process(settings, tuple(QUEUES[stage] for stage in Stage))
    yield made
    made.ringer.stop()
    made.database.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def moderator() -> Iterator[str]:
    """The base URL of a real moderator process with the real classifier."""
    port = free_port()
    script = f"from worker.moderator import serve; serve('127.0.0.1', {port})"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, process)
        yield url
    finally:
        process.terminate()
        assert process.wait(20) in {0, -15}


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "the moderator ended before it answered"
        try:
            if httpx.get(f"{url}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the moderator did not come up")
