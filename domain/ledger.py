"""Money in integer micro-units, GPU time in milliseconds. At a terminal state hold + release = 0."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an entry does; each kind occurs at most once per video."""

    HOLD = "hold"
    RELEASE = "release"
    CHARGE = "charge"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    kind: Kind
    micros: int
    gpu_ms: int = 0


def opening(price_micros: int) -> Entry:
    """What a create sets aside."""
    return Entry(Kind.HOLD, price_micros)


def closing(price_micros: int, gpu_ms: int, *, completed: bool) -> tuple[Entry, ...]:
    """What an end gives back, and what it charges if there is a result."""
    release = Entry(Kind.RELEASE, -price_micros)
    return (release, Entry(Kind.CHARGE, price_micros, gpu_ms)) if completed else (release,)
