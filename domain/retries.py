"""When to try again: delays as data."""

from __future__ import annotations

MAX_CRASHES = 3  # of one stage of one video; then it is poison
MAX_FAILURES = 5  # orderly ones, of one stage of one video
_CRASH_DELAYS = (0.0, 10.0)
_STAGE_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)

# Standard Webhooks' example schedule: ten attempts over 75 hours.
WEBHOOK_DELAYS = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)


def stage_delay(failures: int) -> float:
    """Seconds before a stage runs again after its n-th failure (n >= 1)."""
    return _STAGE_DELAYS[min(failures, len(_STAGE_DELAYS)) - 1]


def crash_delay(crashes: int) -> float:
    """Seconds before a stage runs again after its n-th crash (1 <= n < MAX_CRASHES).

    A worker that dies again and again takes whatever is first in line with it; a video that this met twice steps aside.
    """
    return _CRASH_DELAYS[crashes - 1]


def webhook_delay(attempts: int, jitter: float, retry_after: float | None = None) -> float | None:
    """Seconds before the next delivery after `attempts` failed ones; None when they are used up.

    `jitter` in [-1, 1] moves the delay by up to a fifth. `retry_after` (seconds, from the receiver) is honoured
    between the planned delay and the larger of twice that and an hour.
    """
    if attempts >= len(WEBHOOK_DELAYS):
        return None
    planned = WEBHOOK_DELAYS[attempts] * (1 + 0.2 * jitter)
    if retry_after is None:
        return planned
    return min(max(planned, retry_after), max(2 * planned, 3_600.0))
