"""How long a video still takes: estimates from what is known, None where nothing is. Milliseconds throughout."""

from __future__ import annotations

from collections.abc import Mapping

FINISHING_MS = 2_000  # checking, signing and uploading a rendered video
DEFAULT_POLL_MS = 1_000
LEAST_POLL_MS, MOST_POLL_MS = 500, 15_000
POLLS_PER_WAIT = 10


def position(own_rank: int, backlog: Mapping[str, int], tenant: str) -> int:
    """Videos that go first. With fair turns, each other tenant gets about as many before it as its owner does.

    `own_rank` counts the owner's videos ahead; `backlog` the waiting videos of every tenant.
    """
    others = (waiting for name, waiting in backlog.items() if name != tenant)
    return own_rank + sum(min(waiting, own_rank) for waiting in others)


def until_taken(ahead: int, slots: int, mean_ms: int) -> int | None:
    """The wait of a new video until a renderer takes it, behind everybody; None when nobody renders."""
    return None if slots < 1 else ahead * mean_ms // slots


def until_end_of_queued(ahead: int, slots: int, mean_ms: int, own_ms: int) -> int | None:
    """The wait for a slot, the render and the finish; None when nobody renders."""
    if slots < 1:
        return None
    return ahead * (mean_ms or own_ms) // slots + own_ms + FINISHING_MS


def until_end_of_rendering(elapsed_ms: int, percent: int, own_ms: int) -> int:
    """By the pace so far; by the estimate while there is none."""
    if percent < 1:
        return max(own_ms - elapsed_ms, 0) + FINISHING_MS
    return max(elapsed_ms, 0) * (100 - min(percent, 100)) // percent


def poll_after(eta_ms: int | None) -> int:
    """When a client should ask again. It keeps the first answer for the whole wait, so a tenth of that is right."""
    if eta_ms is None:
        return DEFAULT_POLL_MS
    return min(max(eta_ms // POLLS_PER_WAIT, LEAST_POLL_MS), MOST_POLL_MS)
