"""One run: load and faults, then calm until everything settles, then the report."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from infra.embedded.supervisor import Supervisor
from storage.objects import ObjectStore
from tests.chaos import report
from tests.chaos.cluster import Cluster, launch, nothing
from tests.chaos.faults import Fault, outages, schedule
from tests.chaos.load import Load
from tests.chaos.receiver import Receiver, receiving
from tests.chaos.recovery import Recovery, Struck, recoveries
from tests.chaos.report import Asked, Files, Report

TICK = 0.05
PROGRESS_SECONDS = 10.0
STARTING_SECONDS = 60.0
TOLD_SECONDS = 120.0  # after the last video: a lost delivery has a lease of a minute, and so has a sweep


@dataclass(frozen=True)
class Options:
    """The size of a run."""

    seed: int
    videos: int = 120
    seconds: float = 120.0
    settle_seconds: float = 60.0
    outages: int = 0  # of the store, half a minute each, beside the other faults
    module: str = "cli.main"

    @property
    def bound_seconds(self) -> float:
        """When a run is over in any case."""
        return 2 * STARTING_SECONDS + self.seconds + self.settle_seconds + TOLD_SECONDS + 60


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    seed: int
    report: Report
    faults: tuple[Struck, ...]
    recoveries: tuple[Recovery, ...]
    settled_seconds: float | None  # until every video had ended; None: not within the time
    quiet_seconds: float | None  # until receivers were told, too, and what is left over was swept
    slowest_create: float
    requests: int
    refused_webhooks: int
    refusal: str | None  # an answer that no fault explains
    repeated_webhooks: int  # under the same id: at least once is the promise

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or left over, in time."""
        return (
            not self.report.faults()
            and self.refusal is None
            and self.settled_seconds is not None
            and self.quiet_seconds is not None
        )


def run(data: Path, options: Options, say: Callable[[str], None] = print) -> Outcome:
    """Raises AssertionError only if the run itself went wrong; what it found is in the outcome."""
    supervisor = Supervisor(data)
    with receiving() as receiver:
        try:
            say("starting Postgres, Valkey, SeaweedFS and Kinema")
            cluster = launch(data, supervisor, options.module)
            await_api(cluster)
            endpoint = subscribe(cluster, receiver.port)
            return _break_and_count(cluster, options, receiver, endpoint, say)
        finally:
            supervisor.kill()


def _break_and_count(
    cluster: Cluster, options: Options, receiver: Receiver, endpoint: str, say: Callable[[str], None]
) -> Outcome:
    say(f"seed {options.seed}: {options.videos} videos under {options.seconds:.0f} s of faults")
    load = Load(cluster.base_urls, cluster.api_key, options.seed, options.videos, options.seconds)
    thread = load.start()
    try:
        faults = break_things(cluster, options, load, say)
        say(f"calm: everything has {options.settle_seconds:.0f} s to end")
        receiver.flaps = False
        settled = settle(cluster, options.settle_seconds, lambda: not thread.is_alive(), (report.UNSETTLED,))
        resend(cluster, endpoint)
        quiet = settle(cluster, TOLD_SECONDS, lambda: True, (report.UNDELIVERED, report.UNSWEPT))
    finally:
        load.stop.set()
    asked = Asked(options.videos, load.accepted, load.cancelled)
    found = report.examine(owner_url(cluster), asked, receiver.told, examine_files(cluster))
    claims, ends = moments(cluster)
    return Outcome(
        options.seed,
        found,
        tuple(faults),
        tuple(recoveries(faults, claims, ends)),
        settled,
        quiet,
        load.slowest,
        load.tries,
        receiver.refused,
        load.refusal,
        receiver.repeated,
    )


def await_api(cluster: Cluster) -> None:
    """Until both APIs are ready."""
    deadline = time.monotonic() + STARTING_SECONDS
    for url in cluster.base_urls:
        while True:
            cluster.supervisor.restart_dead()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url.removesuffix("/v1") + "/readyz", timeout=2).status_code == httpx.codes.OK:
                    break
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(TICK)


def subscribe(cluster: Cluster, port: int) -> str:
    """An endpoint for both ends of videos; its id."""
    body = {"name": "chaos", "url": f"http://127.0.0.1:{port}/", "event_types": ["video.completed", "video.failed"]}
    return str(_ask(cluster, "POST", "/webhook_endpoints", body)["id"])


def resend(cluster: Cluster, endpoint: str) -> None:
    """What waits for a late retry, now that the receiver is well: what its operator would do."""
    for _ in range(20):
        with contextlib.suppress(httpx.HTTPError):
            waiting = _ask(cluster, "GET", f"/webhook_endpoints/{endpoint}/deliveries?state=pending&limit=100")["data"]
            for delivery in waiting:
                _ask(cluster, "POST", f"/webhook_endpoints/{endpoint}/deliveries/{delivery['id']}/resend")
            return
        cluster.supervisor.restart_dead()
        time.sleep(0.5)


def _ask(cluster: Cluster, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {cluster.api_key}"}
    answer = httpx.request(method, cluster.base_urls[0] + path, json=body, headers=headers, timeout=10)
    answer.raise_for_status()
    return dict(answer.json())


def break_things(cluster: Cluster, options: Options, load: Load, say: Callable[[str], None]) -> list[Struck]:
    """Everything of the schedule, each mended when its time is over."""
    begun, told_at = time.monotonic(), 0.0
    waiting = planned(options)
    mends: list[tuple[float, Callable[[], None]]] = []
    struck: list[Struck] = []
    try:
        while (now := time.monotonic() - begun) < options.seconds:
            cluster.supervisor.restart_dead()
            while waiting and waiting[0].at <= now:
                fault = waiting.pop(0)
                say(f"{now:6.1f} s  {fault}")
                clock, mend = time.time(), cluster.strike(fault)
                struck.append(Struck(round(now, 1), clock, fault.kind, round(fault.seconds, 1), hit=mend is not None))
                mends.append((now + fault.seconds, mend or nothing))
            for due in [each for each in mends if each[0] <= now]:
                due[1]()
                mends.remove(due)
            if now - told_at >= PROGRESS_SECONDS:
                told_at = now
                say(f"{now:6.1f} s  -- {len(load.accepted)} accepted, {count(cluster, report.COMPLETED)} completed")
            time.sleep(TICK)
    finally:
        for _, mend in mends:
            mend()
    return struck


def planned(options: Options) -> list[Fault]:
    """The faults of a run, by their time."""
    away = outages(options.seconds, options.outages, length=30.0)
    return sorted([*schedule(options.seed, options.seconds), *away], key=lambda fault: fault.at)


def settle(cluster: Cluster, seconds: float, loaded: Callable[[], bool], queries: tuple[str, ...]) -> float | None:
    """Seconds until nothing is left of what the queries count; None if that took too long."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        cluster.supervisor.restart_dead()
        if loaded() and all(count(cluster, query) == 0 for query in queries):
            return round(time.monotonic() - begun, 1)
        time.sleep(0.25)
    return None


def count(cluster: Cluster, query: str) -> int:
    """What the query counts; -1 while Postgres is away."""
    try:
        with psycopg.connect(owner_url(cluster), connect_timeout=2, options="-c statement_timeout=2s") as connection:
            row = connection.execute(query).fetchone()  # type: ignore[arg-type] - psycopg wants literal text, these are our own
            return int(row[0]) if row else 0
    except psycopg.OperationalError:
        return -1


def moments(cluster: Cluster) -> tuple[list[float], list[float]]:
    """When something was claimed, and when a video was completed, in Unix time."""
    with psycopg.connect(owner_url(cluster), connect_timeout=5) as connection:
        claims = connection.execute("SELECT extract(epoch FROM started_at) FROM attempts").fetchall()
        ends = connection.execute(
            "SELECT extract(epoch FROM completed_at) FROM videos WHERE state = 'completed'"
        ).fetchall()
    return [float(at) for (at,) in claims], [float(at) for (at,) in ends]


def examine_files(cluster: Cluster) -> Files:
    """The store's own list, results whose bytes are missing or not what the row says, and what was swept."""
    at = cluster.stack.endpoints
    store = ObjectStore(at.s3_endpoint_url, at.s3_access_key, at.s3_secret_key, at.s3_bucket, region=at.s3_region)
    with psycopg.connect(owner_url(cluster), connect_timeout=5) as connection:
        rows = connection.execute("SELECT object_key, sha256 FROM outputs").fetchall()
    wrong = sum(not is_right(store, key, digest) for key, digest in rows)
    return Files(cluster.stored(), wrong, swept(cluster.stack.data / "logs"))


def is_right(store: ObjectStore, key: str, digest: bytes) -> bool:
    """Whether the result can be read and is what its row says."""
    try:
        return hashlib.sha256(store.read(key)).digest() == digest
    except Exception:  # noqa: BLE001 - whatever keeps a result from being read makes it wrong
        return False


def swept(logs: Path) -> int:
    """Objects that dispatchers say they removed for good."""
    lines = (line for log in logs.glob("dispatcher*") for line in log.read_text(errors="replace").splitlines())
    return sum(json.loads(line)["objects"] for line in lines if '"message": "swept"' in line)


def owner_url(cluster: Cluster) -> str:
    """Postgres itself, past the proxy."""
    return cluster.stack.endpoints.owner_database_url.replace("+psycopg", "")
