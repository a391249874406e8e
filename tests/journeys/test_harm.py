"""Videos that do harm: one that kills whoever renders it, one whose renderer stands still and lives on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.journeys.conftest import FAST_LEASES
from tests.journeys.crashing import HANGS, KILLS, PLAN
from tests.journeys.system import System, eventually, running
from tests.journeys.test_faults import SHORT

pytestmark = pytest.mark.slow
STALL, LEASE, REAP = 2.0, float(FAST_LEASES["KINEMA_LEASE_SECONDS"]), float(FAST_LEASES["KINEMA_REAP_SECONDS"])
LOAD_SECONDS = 15.0  # that a child takes to start where everybody else wants the processor too; the card loads at once


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One renderer, which is enough to see whether it comes back."""
    folder = tmp_path_factory.mktemp("harm")
    (folder / "plan.json").write_text(json.dumps({"api": 0, "render": 0, "io": 0}))
    own = {"KINEMA_STALL_SECONDS": str(STALL), "KINEMA_OVERSTAY_SECONDS": "2", PLAN: str(folder)}
    environment = {**FAST_LEASES, **own, "KINEMA_TESTCARD_STEP_SECONDS": "0.05"}
    with running(
        folder / "data", "--model", "testcard", environment=environment, module="tests.journeys.crashing"
    ) as up:
        yield up


def attempts(system: System, video_id: str) -> list[tuple[str, float, float]]:
    """Outcome, start and end of each rendering of a video."""
    query = (
        "SELECT outcome, extract(epoch FROM started_at)::float8, extract(epoch FROM ended_at)::float8 FROM attempts"
        " WHERE video_id = %s AND stage = 'render' ORDER BY fence"
    )
    return [(outcome, begun, ended) for outcome, begun, ended in system.rows(query, video_id.removeprefix("video_"))]


def test_a_video_that_kills_its_renderers_is_given_up_and_harms_no_other(system: System) -> None:
    client = system.client()
    poison = client.videos.create(**SHORT, extra_body={"seed": KILLS})
    others = [client.videos.create(**SHORT).id for _ in range(4)]
    eventually(lambda: client.videos.retrieve(poison.id).status == "failed", within=60)
    eventually(lambda: all(client.videos.retrieve(each).status == "completed" for each in others), within=60)
    ended = client.videos.retrieve(poison.id)
    assert ended.error is not None
    assert ended.error.code == "poison"
    assert [outcome for outcome, _, _ in attempts(system, poison.id)] == ["crashed"] * 3
    assert [[outcome for outcome, _, _ in attempts(system, each)] for each in others] == [["done"]] * 4
    starts = sorted(begun for each in (poison.id, *others) for _, begun, _ in attempts(system, each))
    killed = [begun for _, begun, _ in attempts(system, poison.id)]
    again = [min((start - death for start in starts if start > death), default=0.0) for death in killed]
    assert max(again) < LOAD_SECONDS
    print(f"3 attempts, then poison; the renderer takes work again after {max(again):.1f} s at most")


def test_a_renderer_that_stands_still_loses_its_video_and_is_replaced(system: System) -> None:
    client = system.client()
    video = client.videos.create(**SHORT, extra_body={"seed": HANGS})
    hung = system.data.parent / "hung"
    eventually(hung.exists, within=30)
    eventually(lambda: client.videos.retrieve(video.id).status == "completed", within=60)
    (first, _, lost), (second, begun, _) = attempts(system, video.id)
    assert (first, second) == ("crashed", "done")
    requeued, again = lost - float(hung.read_text()), begun - float(hung.read_text())
    assert requeued < STALL + LEASE + 2 * REAP + 1.0
    print(
        f"requeued {requeued:.1f} s after it stood still (stall {STALL}, lease {LEASE}), at work again at {again:.1f} s"
    )
