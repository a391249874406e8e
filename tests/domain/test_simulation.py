"""Ten thousand days on a virtual clock; a seed that breaks an invariant is named and can be run again."""

from __future__ import annotations

import time

import pytest

from domain import lifecycle
from domain.lifecycle import State
from tests.domain import simulation
from tests.domain.simulation import Broken, simulate

SEEDS, PARTS = 10_000, 4
SECONDS = 60.0  # of one processor, for all seeds


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_each_video_ends_once_and_every_slot_comes_back(part: int) -> None:
    rejected, begun = 0, time.process_time()
    for seed in range(part, SEEDS, PARTS):
        try:
            rejected += simulate(seed).rejected
        except Broken as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
    took = time.process_time() - begun
    print(f"{SEEDS // PARTS} seeds in {took:.1f} s; {rejected} late writes refused")
    assert rejected > 100, "frozen workers did try to finish what was no longer theirs"
    assert took < SECONDS / PARTS


def test_the_same_seed_lives_the_same_day() -> None:
    first, second = simulate(7), simulate(7)
    assert (first.now, first.rejected, first.videos) == (second.now, second.rejected, second.videos)


def test_without_the_fence_videos_end_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = simulation.World.move

    def unguarded(self: simulation.World, video: simulation.Video, before: State, after: State, _fence: int) -> bool:
        video.state = before
        return guarded(self, video, before, after, video.fence)

    monkeypatch.setattr(simulation.World, "move", unguarded)
    with pytest.raises(Broken):
        list(map(simulate, range(200)))


def test_a_move_that_the_table_forbids_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lifecycle.TRANSITIONS, State.RENDERING, frozenset({State.QUEUED, State.FAILED}))
    with pytest.raises(Broken, match="may not become"):
        list(map(simulate, range(50)))
