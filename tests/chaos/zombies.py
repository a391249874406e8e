"""A publisher that sleeps through its lease, and comes back while another one holds its video.

Nothing here depends on luck: the store is so slow that publishing takes seconds, the second publisher is stopped
as soon as it has claimed, and only then may the first one go on. It finishes, unless something keeps it from that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import httpx
import psycopg

from infra.embedded.supervisor import Supervisor
from tests.chaos import report
from tests.chaos.cluster import Cluster, launch
from tests.chaos.faults import LEASE_SECONDS
from tests.chaos.load import ASKED
from tests.chaos.proxy import CALM, Temper
from tests.chaos.receiver import receiving
from tests.chaos.report import Asked, Report
from tests.chaos.run import await_api, examine_files, owner_url, settle, subscribe

SLOW = Temper(delay_seconds=0.4)  # each way: a publisher asks the store a dozen times
WITHIN = 30.0
TICK = 0.02

Found = TypeVar("Found")


class Publisher(NamedTuple):
    """Who publishes the video: its fence, and its process group."""

    fence: int
    group: int


def run(data: Path, module: str, settle_seconds: float = 30.0) -> Report:
    """The report after one zombie's return."""
    supervisor = Supervisor(data)
    with receiving() as receiver:
        receiver.flaps = False
        try:
            cluster = launch(data, supervisor, module, {"io_worker": 2, "render_worker": 1, "dispatcher": 1})
            await_api(cluster)
            subscribe(cluster, receiver.port)
            video_id = _ask_for_one(cluster)
            _haunt(cluster, video_id)
            settle(cluster, settle_seconds, lambda: True, (report.UNSETTLED, report.UNDELIVERED, report.UNSWEPT))
            return report.examine(owner_url(cluster), Asked(1, [video_id]), receiver.told, examine_files(cluster))
        finally:
            supervisor.kill()


def _ask_for_one(cluster: Cluster) -> str:
    headers = {"authorization": f"Bearer {cluster.api_key}"}
    answer = httpx.post(f"{cluster.base_urls[0]}/videos", json=ASKED, headers=headers, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["id"])


def _haunt(cluster: Cluster, video_id: str) -> None:
    """Freeze whoever publishes, let the other one claim, freeze that one, and let the first go on."""
    _until(lambda: _state(cluster, video_id) in {"rendering", "rendered", "publishing"})
    cluster.proxies["store"].behave(SLOW)
    first = _until(lambda: _publisher(cluster, video_id))
    with _frozen(first.group):
        second = _until(lambda: _successor(cluster, video_id, first))
        os.killpg(second.group, signal.SIGSTOP)
    try:
        cluster.proxies["store"].behave(CALM)
        ended_at = time.monotonic() + 2 * LEASE_SECONDS  # then the first one is through, or was refused
        while time.monotonic() < ended_at and _state(cluster, video_id) != "completed":
            time.sleep(TICK)
    finally:
        os.killpg(second.group, signal.SIGCONT)


@contextlib.contextmanager
def _frozen(group: int) -> Iterator[None]:
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


def _successor(cluster: Cluster, video_id: str, before: Publisher) -> Publisher | None:
    found = _publisher(cluster, video_id)
    return found if found is not None and found.fence > before.fence and found.group != before.group else None


def _publisher(cluster: Cluster, video_id: str) -> Publisher | None:
    row = _row(cluster, "SELECT fence, worker FROM videos WHERE id = %s AND state = 'publishing'", video_id)
    return None if row is None else Publisher(int(str(row[0])), os.getpgid(int(str(row[1]).rpartition(":")[2])))


def _state(cluster: Cluster, video_id: str) -> str:
    row = _row(cluster, "SELECT state FROM videos WHERE id = %s", video_id)
    return "" if row is None else str(row[0])


def _row(cluster: Cluster, query: str, video_id: str) -> tuple[object, ...] | None:
    with psycopg.connect(owner_url(cluster), connect_timeout=2, options="-c statement_timeout=2s") as connection:
        return connection.execute(query, (video_id.removeprefix("video_"),)).fetchone()  # type: ignore[arg-type] - psycopg wants literal text, these are our own


def _until(look: Callable[[], Found | None]) -> Found:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + WITHIN
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(TICK)
    return found
