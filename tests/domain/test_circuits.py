from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.circuits import Health, Limits, after, given_up

START = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits()


def outcomes(health: Health, marks: str, *, at: datetime = START, step: float = 1.0) -> Health:
    """One attempt per mark, `step` seconds apart: + succeeded, - failed."""
    for number, mark in enumerate(marks):
        health = after(health, at + timedelta(seconds=number * step), LIMITS, success=mark == "+")
    return health


def opened(seconds: float = 30) -> Health:
    health = outcomes(Health(), "-" * 10)
    assert health.open_until == START + timedelta(seconds=9 + 30)
    while health.open_seconds < seconds:
        assert health.open_until is not None
        health = after(health, health.open_until, LIMITS, success=False)
    return health


@pytest.mark.parametrize(
    ("marks", "opens"),
    [
        ("-" * 9, False),  # too few to conclude anything
        ("-" * 10, True),
        ("+++-------", True),  # seven of ten
        ("++++------", False),
        ("-+" * 50, False),  # every second one fails: it is slow, not down
        ("+" * 20 + "-" * 46, False),
        ("+" * 20 + "-" * 47, True),
    ],
)
def test_seventy_percent_failures_of_at_least_ten_open_the_breaker(marks: str, *, opens: bool) -> None:
    assert (outcomes(Health(), marks).open_until is not None) == opens


def test_failures_of_an_earlier_window_do_not_count() -> None:
    before = outcomes(Health(), "-" * 9)
    later = after(before, START + LIMITS.window, LIMITS, success=False)
    assert later.open_until is None
    assert (later.window_attempts, later.failures) == (1, 10)


def test_each_failed_probe_doubles_the_pause_up_to_an_hour() -> None:
    health, pauses = opened(), [30.0]
    for _ in range(9):
        assert health.open_until is not None
        health = after(health, health.open_until, LIMITS, success=False)
        pauses.append(health.open_seconds)
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_one_success_closes_the_breaker_and_forgets_the_failures() -> None:
    health = opened(240)
    assert health.open_until is not None
    assert after(health, health.open_until, LIMITS, success=True) == Health()


def test_what_was_under_way_when_it_opened_does_not_prolong_the_pause() -> None:
    health = opened()
    late = after(health, START + timedelta(seconds=10), LIMITS, success=False)
    assert (late.open_until, late.open_seconds) == (health.open_until, health.open_seconds)


@pytest.mark.parametrize(("days", "percent"), [(2.4, 0), (2.5, 50), (3.5, 70), (4.5, 90), (4.99, 90), (5, 100)])
def test_its_owner_is_told_on_the_way_to_the_end(days: float, percent: int) -> None:
    failing = outcomes(Health(), "-" * 30)
    now = START + timedelta(days=days)
    health = after(failing, now, LIMITS, success=False)
    assert health.alert_percent == percent
    assert health.alerted_at == (now if percent else None)
    assert given_up(health) == (percent == 100)


def test_few_failures_give_nobody_up_however_long_ago_they_began() -> None:
    health = outcomes(Health(), "-" * 19, step=86_400)
    assert health.alert_percent == 90
    assert not given_up(health)
    assert given_up(after(health, START + timedelta(days=30), LIMITS, success=False))


def test_a_success_sets_the_clock_back() -> None:
    almost = outcomes(Health(), "-" * 19, step=86_400)
    healed = after(almost, START + timedelta(days=20), LIMITS, success=True)
    assert (healed.failing_since, healed.failures, healed.alert_percent, healed.alerted_at) == (None, 0, 0, None)
