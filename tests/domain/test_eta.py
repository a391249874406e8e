from __future__ import annotations

import pytest

from domain import eta


def test_nobody_goes_before_the_first_of_anybody() -> None:
    assert eta.position(0, {"mine": 5, "other": 900}, "mine") == 0


def test_a_deep_backlog_of_another_tenant_counts_only_as_far_as_ones_own_rank() -> None:
    assert eta.position(3, {"mine": 4, "greedy": 10_000, "small": 1}, "mine") == 3 + 3 + 1


def test_a_tenant_missing_from_the_snapshot_has_its_own_rank() -> None:
    assert eta.position(2, {}, "mine") == 2


def test_the_wait_is_shared_by_the_slots() -> None:
    alone = eta.until_end_of_queued(8, 1, 1_000, 3_000)
    assert alone == 8_000 + 3_000 + eta.FINISHING_MS
    assert eta.until_end_of_queued(8, 4, 1_000, 3_000) == 2_000 + 3_000 + eta.FINISHING_MS


def test_without_history_every_video_counts_as_one_s_own() -> None:
    assert eta.until_end_of_queued(2, 1, 0, 3_000) == 9_000 + eta.FINISHING_MS


def test_without_a_renderer_nobody_knows() -> None:
    assert eta.until_end_of_queued(0, 0, 1_000, 1_000) is None


@pytest.mark.parametrize(
    ("elapsed", "percent", "left"),
    [(1_000, 50, 1_000), (9_000, 90, 1_000), (5_000, 100, 0), (500, 0, 1_500 + eta.FINISHING_MS), (9_000, 0, 2_000)],
)
def test_a_rendering_goes_on_at_its_pace(elapsed: int, percent: int, left: int) -> None:
    assert eta.until_end_of_rendering(elapsed, percent, own_ms=2_000) == left


@pytest.mark.parametrize(
    ("end", "wait"), [(None, 1_000), (0, 500), (4_000, 500), (8_000, 800), (60_000, 6_000), (10**9, 15_000)]
)
def test_a_client_polls_about_ten_times(end: int | None, wait: int) -> None:
    assert eta.poll_after(end) == wait


def test_a_new_video_waits_for_all_before_it_unless_nobody_renders() -> None:
    assert eta.until_taken(6, 2, 1_000) == 3_000
    assert eta.until_taken(0, 2, 1_000) == 0
    assert eta.until_taken(6, 0, 1_000) is None
