"""How a receiver's health decides what it gets: a breaker that pauses it, and a clock that disables it.

A breaker is closed (everything is sent), open (nothing is) or, when its time is up, lets one probe through. The rules
are pure: the storage layer keeps a `Health` per endpoint, and the database's clock is the one that counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

_LEVELS = (100, 90, 70, 50)  # percent of the way to being disabled, at which its owner is told


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens, and when an endpoint is given up."""

    window: timedelta = timedelta(minutes=5)
    attempts: int = 10  # in the window, before anything is concluded
    failing: float = 0.7  # of them
    opens: timedelta = timedelta(seconds=30)  # at first; twice as long after each failed probe
    longest: timedelta = timedelta(hours=1)
    patience: timedelta = timedelta(days=5)  # without one success
    failures: int = 20  # in a row, at least


@dataclass(frozen=True, slots=True)
class Health:
    """What an endpoint's attempts have come to. Everything is zero or None while all is well."""

    window_at: datetime | None = None  # when the counting of the next two began
    window_attempts: int = 0
    window_failures: int = 0
    open_until: datetime | None = None
    open_seconds: float = 0.0  # how long it was opened for last
    failing_since: datetime | None = None  # the first failure after the last success
    failures: int = 0  # since then
    alert_percent: int = 0
    alerted_at: datetime | None = None


def after(health: Health, now: datetime, limits: Limits, *, success: bool) -> Health:
    """The health after one more attempt that ended `now`. A success heals everything but the window's count."""
    if success:
        # After a pause the count starts anew; without one, the failures before still count.
        paused = health.open_until is not None
        return Health() if paused else _counted(health, now, limits, failed=0, failing=False)
    failed = _counted(health, now, limits, failed=1, failing=True)
    return _alerted(_opened(failed, now, limits), now, limits)


def given_up(health: Health) -> bool:
    """Whether the endpoint's time is over."""
    return health.alert_percent >= _LEVELS[0]


def _counted(health: Health, now: datetime, limits: Limits, *, failed: int, failing: bool) -> Health:
    fresh = health.window_at is None or now - health.window_at >= limits.window
    return replace(
        health if failing else Health(),
        window_at=now if fresh else health.window_at,
        window_attempts=1 + (0 if fresh else health.window_attempts),
        window_failures=failed + (0 if fresh else health.window_failures),
        failing_since=(health.failing_since or now) if failing else None,
        failures=health.failures + 1 if failing else 0,
    )


def _opened(health: Health, now: datetime, limits: Limits) -> Health:
    if health.open_until is not None:
        if now < health.open_until:
            return health  # it was under way when the breaker opened
        return _open(health, now, min(2 * timedelta(seconds=health.open_seconds), limits.longest))
    enough = health.window_attempts >= limits.attempts
    if enough and health.window_failures >= limits.failing * health.window_attempts:
        return _open(health, now, limits.opens)
    return health


def _open(health: Health, now: datetime, length: timedelta) -> Health:
    return replace(health, open_until=now + length, open_seconds=length.total_seconds())


def _alerted(health: Health, now: datetime, limits: Limits) -> Health:
    failing_for = now - (health.failing_since or now)
    way = min(failing_for / limits.patience, health.failures / limits.failures, 1.0)
    reached = next((level for level in _LEVELS if 100 * way >= level), 0)
    if reached <= health.alert_percent:
        return health
    return replace(health, alert_percent=reached, alerted_at=now)
