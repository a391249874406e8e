"""One run: load and faults, then calm until everything settles, then the report."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psycopg

from infra.embedded.supervisor import Supervisor
from storage.objects import ObjectStore
from tests.chaos import report
from tests.chaos.cluster import Cluster, launch
from tests.chaos.faults import schedule
from tests.chaos.load import Load
from tests.chaos.report import Report

TICK = 0.05


@dataclass(frozen=True)
class Options:
    """The size of a run."""

    seed: int
    videos: int = 120
    seconds: float = 120.0
    settle_seconds: float = 60.0
    module: str = "cli.main"


@dataclass
class Receiver:
    """The far end of webhooks: fails half of the time while it flaps, and remembers what it accepted."""

    seed: int
    port: int = 0
    flaps: bool = True
    told: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    report: Report
    faults: int
    settled_seconds: float | None  # None: not within the time
    slowest_create: float
    tries: int


def run(data: Path, options: Options, say: Callable[[str], None] = print) -> Outcome:
    """Raises AssertionError only if the run itself went wrong; what it found is in the outcome."""
    supervisor = Supervisor(data)
    with receiving(options.seed) as receiver:
        try:
            cluster = launch(data, supervisor, options.module)
            await_api(cluster)
            subscribe(cluster, receiver.port)
            say(f"seed {options.seed}: {options.videos} videos under {options.seconds:.0f} s of faults")
            load = Load(cluster.base_urls, cluster.api_key, options.seed, options.videos, options.seconds)
            thread = load.start()
            struck = break_things(cluster, options, say)
            receiver.flaps = False
            settled = settle(cluster, options, thread)
            wrong = wrong_files(cluster)
            found = report.examine(owner_url(cluster), load.accepted, receiver.told, wrong)
            return Outcome(found, struck, settled, load.slowest, load.tries)
        finally:
            supervisor.kill()


def await_api(cluster: Cluster) -> None:
    deadline = time.monotonic() + 60
    for url in cluster.base_urls:
        while True:
            cluster.supervisor.restart_dead()
            try:
                if httpx.get(url.removesuffix("/v1") + "/readyz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(TICK)


def subscribe(cluster: Cluster, port: int) -> None:
    body = {"name": "chaos", "url": f"http://127.0.0.1:{port}/", "event_types": ["video.completed", "video.failed"]}
    headers = {"authorization": f"Bearer {cluster.api_key}"}
    answer = httpx.post(f"{cluster.base_urls[0]}/webhook_endpoints", json=body, headers=headers, timeout=10)
    assert answer.is_success, answer.text


def break_things(cluster: Cluster, options: Options, say: Callable[[str], None]) -> int:
    """Everything of the schedule, each mended when its time is over. Returns how many faults struck."""
    begun = time.monotonic()
    waiting = schedule(options.seed, options.seconds)
    mends: list[tuple[float, Callable[[], None]]] = []
    struck = 0
    while (now := time.monotonic() - begun) < options.seconds:
        cluster.supervisor.restart_dead()
        while waiting and waiting[0].at <= now:
            fault = waiting.pop(0)
            say(f"{now:6.1f} s  {fault.kind}" + (f" for {fault.seconds:.1f} s" if fault.seconds else ""))
            mends.append((now + fault.seconds, cluster.strike(fault)))
            struck += 1
        for due in [each for each in mends if each[0] <= now]:
            due[1]()
            mends.remove(due)
        time.sleep(TICK)
    for _, mend in mends:
        mend()
    return struck


def settle(cluster: Cluster, options: Options, load: threading.Thread) -> float | None:
    """Seconds until nothing moves any more: all videos ended, webhooks delivered, objects swept."""
    begun = time.monotonic()
    while time.monotonic() - begun < options.settle_seconds:
        cluster.supervisor.restart_dead()
        if not load.is_alive() and all(count(cluster, query) == 0 for query in QUIET):
            return time.monotonic() - begun
        time.sleep(0.25)
    return None


QUIET = (report.UNSETTLED, report.UNDELIVERED, report.UNSWEPT)


def count(cluster: Cluster, query: str) -> int:
    try:
        with psycopg.connect(owner_url(cluster), connect_timeout=2) as connection:
            row = connection.execute(query).fetchone()  # type: ignore[arg-type] - psycopg wants literal text, these are our own
            return int(row[0]) if row else 0
    except psycopg.OperationalError:
        return -1


def wrong_files(cluster: Cluster) -> int:
    """Results whose bytes are missing or not those whose digest the row keeps."""
    at = cluster.stack.endpoints
    store = ObjectStore(at.s3_endpoint_url, at.s3_access_key, at.s3_secret_key, at.s3_bucket, region=at.s3_region)
    with psycopg.connect(owner_url(cluster)) as connection:
        rows = connection.execute("SELECT object_key, sha256 FROM outputs").fetchall()
    return sum(not is_right(store, key, digest) for key, digest in rows)


def is_right(store: ObjectStore, key: str, digest: bytes) -> bool:
    try:
        return hashlib.sha256(store.read(key)).digest() == digest
    except Exception:  # noqa: BLE001 - whatever keeps a result from being read makes it wrong
        return False


def owner_url(cluster: Cluster) -> str:
    return cluster.stack.endpoints.owner_database_url.replace("+psycopg", "")


@contextmanager
def receiving(seed: int) -> Iterator[Receiver]:
    """A receiver for as long as the block lasts."""
    receiver = Receiver(seed)
    draw = random.Random(seed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            accepts = not receiver.flaps or draw.random() < 0.5
            if accepts:
                receiver.told[self.headers["webhook-id"]] = json.loads(body)["data"]["id"]
            self.send_response(200 if accepts else 500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()
