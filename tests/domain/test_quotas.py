from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.ledger import Amounts, Meter, used
from domain.quotas import EPOCH, Period, Quota

NOON = datetime(2026, 12, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period.TOTAL, EPOCH, None),
        (Period.DAY, datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (Period.MONTH, datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(period: Period, start: datetime, end: datetime | None) -> None:
    assert (period.start(NOON), period.end(NOON)) == (start, end)
    elsewhere = NOON.astimezone(timezone(timedelta(hours=13)))
    assert (period.start(elsewhere), period.end(elsewhere)) == (start, end)


def test_a_february_ends_after_its_own_days() -> None:
    assert Period.MONTH.end(datetime(2028, 2, 29, tzinfo=UTC)) == datetime(2028, 3, 1, tzinfo=UTC)


def test_a_new_period_forgets_what_was_used_and_keeps_what_is_held() -> None:
    quota = Quota(Meter.MICROS, Period.DAY, 100, held=30, used=60, since=Period.DAY.start(NOON))
    assert quota.left == 10
    assert quota.at(NOON) is quota
    tomorrow = quota.at(NOON + timedelta(days=1))
    assert (tomorrow.held, tomorrow.used, tomorrow.left) == (30, 0, 70)
    assert tomorrow.resets_at == datetime(2027, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(("asked", "clears"), [(100, True), (101, False)])
def test_waiting_helps_a_create_only_if_the_limit_has_room_for_it(asked: int, clears: bool) -> None:  # noqa: FBT001 - a parameter of the test
    quota = Quota(Meter.VIDEO_MS, Period.MONTH, 100, held=80 + asked, used=0, since=Period.MONTH.start(NOON))
    refusal = quota.refusal(asked)
    assert (refusal.clears_at == datetime(2027, 1, 1, tzinfo=UTC)) is clears
    assert "The limit of video time is 100 video_ms a month." in refusal.message
    assert ("2027-01-01T00:00:00Z" in refusal.message) is clears


def test_only_a_result_costs_money_and_burnt_gpu_time_is_always_counted() -> None:
    held = Amounts(40_000, 4_000, 900)
    assert used(held, 1_234, completed=True) == Amounts(40_000, 4_000, 1_234)
    assert used(held, 1_234, completed=False) == Amounts(0, 0, 1_234)
    assert used(held, 0, completed=False) is None
    assert used(held, 0, completed=True) == Amounts(40_000, 4_000, 0)
