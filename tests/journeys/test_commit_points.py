"""Processes that die on either side of every commit: what was answered is there once, and every video runs once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.errors import NotFound
from infra.embedded import seaweedfs
from infra.embedded.credentials import Credentials
from storage.objects import ObjectStore
from tests.fixtures import media
from tests.journeys.conftest import FAST_LEASES
from tests.journeys.crashing import OF_API, OF_WORKER, PLAN
from tests.journeys.system import System, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
POSTS, CLIENTS = 200, 6
DEATHS = {"api": 3 * len(OF_API), "render": len(OF_WORKER), "io": len(OF_WORKER)}
QUICK = {
    **FAST_LEASES,
    "KINEMA_BEAT_SECONDS": "0.1",
    "KINEMA_CANCEL_POLL_SECONDS": "0.1",
    "KINEMA_SWEEP_GRACE_SECONDS": "0",
    "KINEMA_SWEEP_KEEP_SECONDS": "1",
    "KINEMA_TESTCARD_STEP_SECONDS": "0.03",
}
PICTURE = media.data_url(media.picture())
WRONG = {
    "videos that are not completed": "SELECT count(*) FROM videos WHERE state <> 'completed'",
    "videos with another number of results than three, or results of an older fence": """
        SELECT count(*) FROM (SELECT FROM videos v LEFT JOIN outputs o ON o.video_id = v.id GROUP BY v.id, v.fence
        HAVING count(o.kind) <> 3 OR NOT bool_and(position('/' || v.fence || '/' in o.object_key) > 0)) AS wrong""",
    "videos that ended more than once": """
        SELECT count(*) FROM (SELECT FROM events WHERE type = 'completed'
        GROUP BY video_id HAVING count(*) <> 1) AS wrong""",
    "ends that were told more than once": """
        SELECT count(*) FROM (SELECT FROM webhook_messages WHERE type IN ('video.completed', 'video.failed')
        GROUP BY video_id HAVING count(*) <> 1) AS wrong""",
    "ledgers that do not close": """
        SELECT count(*) FROM (SELECT FROM videos v JOIN ledger l ON l.video_id = v.id GROUP BY v.id, v.price_micros
        HAVING sum(l.micros) <> v.price_micros OR count(*) <> 3) AS wrong""",
    "attempts that never ended": "SELECT count(*) FROM attempts WHERE ended_at IS NULL",
    "slots that nobody gave back": "SELECT coalesce(sum(running), 0) FROM tenant_sched",
    "keys that name no video": """
        SELECT count(*) FROM idempotency_keys k
        WHERE NOT EXISTS (SELECT FROM videos v WHERE 'video_' || replace(v.id::text, '-', '') = k.resource)""",
    "inputs that are kept for no video": """
        SELECT count(*) FROM objects o WHERE purpose = 'input' AND doomed_at IS NULL
        AND NOT EXISTS (SELECT FROM videos v WHERE v.id = o.video_id)""",
    "inputs of a video that are to be swept": """
        SELECT count(*) FROM objects o JOIN videos v ON v.id = o.video_id
        WHERE purpose = 'input' AND doomed_at IS NOT NULL""",
}
FORSAKEN = """
SELECT key FROM objects o WHERE purpose = 'input' AND NOT EXISTS (SELECT FROM videos v WHERE v.id = o.video_id)
"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    (tmp_path / "plan.json").write_text(json.dumps(DEATHS))
    options = ("--model", "testcard", "--render-workers", "2")
    environment = {**QUICK, PLAN: str(tmp_path)}
    with running(tmp_path / "data", *options, environment=environment, module="tests.journeys.crashing") as up:
        yield up


def insist(system: System, number: int) -> tuple[str, int]:
    """Post until somebody answers with a video: its id, and how many tries that took."""
    facts = system.facts
    body: dict[str, Any] = {"prompt": "bars", "model": "testcard", "seconds": "1", "size": "256x144", "steps": 4}
    if number % 3 == 0:
        body["input_reference"] = {"image_url": PICTURE}
    headers = {"authorization": f"Bearer {facts['api_key']}", "idempotency-key": f"commit-{number}"}
    for tries in range(1, 1000):
        try:
            answer = httpx.post(f"{facts['base_url']}/videos", json=body, headers=headers, timeout=20)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        if answer.is_success:
            return answer.json()["id"], tries
        assert answer.status_code in {409, 503}, answer.text
        time.sleep(0.1)
    raise AssertionError("nobody answers")


def count(system: System, query: str) -> int:
    return int(system.rows(query)[0][0])


def store_of(system: System) -> ObjectStore:
    numbers, keys = json.loads((system.data / "ports.json").read_text()), Credentials.of(system.data)
    at = seaweedfs.SeaweedFS(system.data, numbers, keys.s3_access_key, keys.s3_secret_key, keys.s3_kek)
    return ObjectStore(at.url, at.access_key, at.secret_key, seaweedfs.BUCKET, region=seaweedfs.REGION)


def test_whoever_dies_around_a_commit_every_answer_has_one_video_that_runs_once(system: System, tmp_path: Path) -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda number: insist(system, number), range(POSTS)))
    posted = time.monotonic() - begun
    assert len({video for video, _ in answers}) == POSTS
    left = "SELECT count(*) FROM videos WHERE state NOT IN ('completed', 'failed', 'expired', 'blocked', 'cancelled')"
    settled = eventually(lambda: count(system, left) == 0, within=400)
    named = {f"video_{row[0].hex}" for row in system.rows("SELECT id FROM videos")}
    assert named == {video for video, _ in answers}, "a video that nobody was told of, or an answer without one"
    assert {name: count(system, query) for name, query in WRONG.items()} == dict.fromkeys(WRONG, 0)
    deaths = Counter((tmp_path / "deaths").read_text().splitlines())
    print(f"{POSTS} posts in {sum(tries for _, tries in answers)} tries, {posted:.0f} s; settled {settled:.0f} s later")
    print(f"{deaths.total()} deaths: {dict(sorted(deaths.items()))}")
    sweep(system, [row[0] for row in system.rows(FORSAKEN)])
    assert all(deaths[point] >= 2 for point in OF_API), deaths
    assert all(deaths[point] >= 1 for point in OF_WORKER), deaths


def sweep(system: System, forsaken: list[str]) -> None:
    """An hour later nothing is left in the store of what was put for videos that never came to be."""
    store = store_of(system)
    assert any(store.has(key) for key in forsaken), "nobody died after a put"
    system.rows(
        "UPDATE objects SET doomed_at = doomed_at - interval '1 hour' WHERE doomed_at IS NOT NULL RETURNING key"
    )
    took = eventually(lambda: count(system, "SELECT count(*) FROM objects WHERE doomed_at IS NOT NULL") == 0, within=60)
    for key in forsaken:
        with pytest.raises(NotFound):
            store.read(key)
    print(f"{len(forsaken)} forsaken inputs swept in {took:.1f} s")
