"""A stack under a launcher of its own, as users run it, for tests that kill things."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import psutil
import psycopg
import redis

from infra.embedded.private import read_json
from infra.embedded.stack import Endpoints
from storage.objects import ObjectStore

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Keeper:
    """`python -m infra.embedded` and what its state file says."""

    process: subprocess.Popen[str]
    data: Path

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.read(read_json(self.data / "stack.json")["endpoints"])

    def pid(self, name: str) -> int:
        """The living process of a server, 0 while there is none."""
        return next(iter(read_json(self.data / "stack.json")["processes"][name]), 0)

    def pids(self) -> list[int]:
        processes = read_json(self.data / "stack.json")["processes"]
        return [pid for group in processes.values() for pid in group]

    def stop(self) -> float:
        """Ends it as a user would; seconds that it took."""
        begun = monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        return monotonic() - begun


@contextlib.contextmanager
def kept(data: Path, prefix: tuple[str, ...] = ()) -> Iterator[Keeper]:
    """A running stack on `data`; ends with the block whatever happens."""
    command = [
        *prefix,
        sys.executable,
        "-m",
        "infra.embedded",
        "--data",
        str(data),
        "--until-exit-of",
        str(os.getpid()),
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            answer = process.stdout.readline()
            assert answer.startswith("ready"), answer + process.stdout.read()
            yield Keeper(process, data)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=25)
            process.kill()


def eventually(holds: Callable[[], object], within: float = 10.0) -> None:
    """Waits until `holds` neither raises nor says no."""
    deadline = monotonic() + within
    while True:
        try:
            assert holds()
        except Exception:
            if monotonic() > deadline:
                raise
            sleep(0.05)
        else:
            return


def gone(pids: list[int]) -> bool:
    """Whether none of the processes runs any more; a zombie does not run."""
    return not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def remember(endpoints: Endpoints, note: str) -> None:
    """Leaves a note in each of the three servers."""
    with psycopg.connect(plain(endpoints), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (note text)")
        connection.execute("INSERT INTO notes VALUES (%s)", (note,))
    with redis.Redis.from_url(endpoints.redis_url) as client:
        client.rpush("notes", note)
    bucket(endpoints).put(f"notes/{note}", note.encode(), content_type="text/plain")


def remembered(endpoints: Endpoints, note: str) -> set[str]:
    """The servers that still have the note."""
    found: set[str] = set()
    with psycopg.connect(plain(endpoints), autocommit=True, connect_timeout=2) as connection:
        if connection.execute("SELECT 1 FROM notes WHERE note = %s", (note,)).fetchone():
            found.add("postgres")
    with redis.Redis.from_url(endpoints.redis_url) as client:
        if note.encode() in client.lrange("notes", 0, -1):
            found.add("valkey")
    answer = bucket(endpoints)._client.get_object(Bucket=endpoints.s3_bucket, Key=f"notes/{note}")
    with answer["Body"] as body:
        if body.read() == note.encode():
            found.add("seaweedfs")
    return found


ALL = {"postgres", "valkey", "seaweedfs"}


def plain(endpoints: Endpoints) -> str:
    """The owner's address as psycopg takes it."""
    return endpoints.owner_database_url.replace("+psycopg", "")


def bucket(endpoints: Endpoints) -> ObjectStore:
    at = endpoints
    return ObjectStore(at.s3_endpoint_url, at.s3_access_key, at.s3_secret_key, at.s3_bucket, region=at.s3_region)
