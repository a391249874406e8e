from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.deliveries import Attempt, Delivered, ErrorClass, GivenUp, RetryIn, judge, retry_after_seconds
from domain.retries import WEBHOOK_DELAYS


def answered(status: int, retry_after: float | None = None) -> Attempt:
    error = None if 200 <= status < 300 else ErrorClass.HTTP
    return Attempt(1, status, error, retry_after=retry_after)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert judge(answered(status), 1, 0) == Delivered()


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 500, 503])
def test_anything_else_is_tried_again_after_five_seconds(status: int) -> None:
    assert judge(answered(status), 1, 0) == RetryIn(5)


def test_410_ends_the_delivery_at_once() -> None:
    assert judge(answered(410), 1, 0) == GivenUp(gone=True)


@pytest.mark.parametrize("attempt", [answered(429), answered(502), answered(504), Attempt(1, error=ErrorClass.TIMEOUT)])
def test_a_throttling_receiver_is_left_alone_for_a_minute(attempt: Attempt) -> None:
    assert judge(attempt, 1, 0) == RetryIn(60)
    assert judge(attempt, 2, 0) == RetryIn(300)


def test_ten_failures_over_75_hours_use_a_delivery_up() -> None:
    verdicts = [judge(answered(500), attempts, 0) for attempts in range(1, 11)]
    assert verdicts[-1] == GivenUp()
    waits = [verdict.seconds for verdict in verdicts[:-1] if isinstance(verdict, RetryIn)]
    assert waits == list(WEBHOOK_DELAYS[1:])
    assert sum(waits) == 75 * 3600 + 35 * 60 + 5


def test_jitter_moves_a_retry_by_a_fifth_either_way() -> None:
    assert judge(answered(500), 2, -1) == RetryIn(240)
    assert judge(answered(500), 2, 1) == RetryIn(360)


def test_retry_after_is_honoured_up_to_an_hour_or_twice_the_plan() -> None:
    assert judge(answered(503, 30), 1, 0) == RetryIn(30)
    assert judge(answered(503, 1), 2, 0) == RetryIn(300)
    assert judge(answered(503, 10**9), 1, 0) == RetryIn(3600)


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_seconds(" 120 ", now) == 120
    assert retry_after_seconds("Thu, 01 Jan 2026 00:02:00 GMT", now) == 120
    assert retry_after_seconds("Thu, 01 Jan 2026 00:02:00 -0000", now) == 120
    assert retry_after_seconds("Wed, 31 Dec 2025 00:00:00 GMT", now) == 0


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 -9999",
        "Mon, 01 Jan 0001 00:00:00 +2359",
    ],
)
def test_a_date_beyond_all_dates_never_fails(text: str) -> None:
    seconds = retry_after_seconds(text, datetime(2026, 1, 1, tzinfo=UTC))
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "²", "Mon, 99 Foo 2026 99:99:99 GMT", "\xff"])
def test_an_unreadable_retry_after_is_ignored(text: str) -> None:
    assert retry_after_seconds(text, datetime(2026, 1, 1, tzinfo=UTC)) is None
