"""How long a video waits for its next renderer after kill -9, with the leases that users have."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runtime.settings import Settings
from tests.journeys.system import eventually, running
from tests.journeys.test_faults import LONG, renderer_children

BOUND_SECONDS = 36.0  # the lease, the reaper's pause of 5 s, a hint's second


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_renderers_video_is_claimed_again_soon_after_its_lease(tmp_path: Path) -> None:
    with running(
        tmp_path / "data", "--model", "testcard", environment={"KINEMA_TESTCARD_STEP_SECONDS": "0.1"}
    ) as system:
        client = system.client()
        video = client.videos.create(**LONG)
        eventually(lambda: client.videos.retrieve(video.id).progress > 10, within=60)
        killed_at = time.time()
        for process in renderer_children(system):
            process.kill()
        started = "SELECT extract(epoch FROM started_at)::float8 FROM attempts WHERE video_id = %s AND stage = 'render'"
        of_video = video.id.removeprefix("video_")
        eventually(lambda: len(system.rows(started, of_video)) == 2, within=60)
        took = max(row[0] for row in system.rows(started, of_video)) - killed_at
        print(f"claimed again {took:.1f} s after kill -9, with a lease of {Settings().lease_seconds:.0f} s")
        assert took <= BOUND_SECONDS
        eventually(lambda: client.videos.retrieve(video.id).status == "completed", within=60)
