"""Requests per minute by a sliding window: the last minute's count fades out while this minute's fills up."""

from __future__ import annotations

import math
from dataclasses import dataclass

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Rule:
    """So many requests a minute, under a name."""

    name: str
    per_minute: int


@dataclass(frozen=True, slots=True)
class Window:
    """Two counts, and the seconds until each is gone. The current one becomes the previous one 60 s before that."""

    previous: int = 0
    previous_seconds: float = 0.0
    current: int = 0
    current_seconds: float = 0.0

    @property
    def count(self) -> int:
        """What the window weighs now."""
        return math.floor(self.previous * self.previous_seconds / MINUTE) + self.current


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands under one rule, this request counted if it was let in."""

    rule: Rule
    remaining: int
    resets_seconds: float  # until nothing is counted any more
    retry_seconds: float  # until one more request is let in; 0 if it would be now


def standing(rule: Rule, window: Window) -> Standing:
    """What a window means under a rule."""
    remaining = max(0, rule.per_minute - window.count)
    resets = window.current_seconds if window.current else window.previous_seconds if window.previous else 0.0
    return Standing(rule, remaining, resets, 0.0 if remaining else _retry(rule.per_minute, window))


def _retry(limit: int, window: Window) -> float:
    if limit < 1:
        return MINUTE
    if window.current < limit:
        return _faded(window.previous, window.previous_seconds, limit - window.current)
    return max(0.0, window.current_seconds - MINUTE) + _faded(window.current, MINUTE, limit)


def _faded(count: int, seconds: float, below: int) -> float:
    """Seconds until a count that is gone after `seconds` weighs less than `below`."""
    return max(0.0, seconds - MINUTE * below / count) + 0.001
