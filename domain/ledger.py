"""What a video sets aside and what it used, in whole units of each meter. At a terminal state hold + release = 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from uuid import UUID


class Meter(StrEnum):
    """What is counted."""

    MICROS = "micros"  # money, in millionths of the currency unit
    VIDEO_MS = "video_ms"  # delivered video
    GPU_MS = "gpu_ms"  # time on a renderer


class Kind(StrEnum):
    """What an entry does; each kind occurs at most once per video."""

    HOLD = "hold"
    RELEASE = "release"
    CHARGE = "charge"


@dataclass(frozen=True, slots=True)
class Amounts:
    """One number per meter."""

    micros: int = 0
    video_ms: int = 0
    gpu_ms: int = 0

    def of(self, meter: Meter) -> int:
        """The number of one meter."""
        return {Meter.MICROS: self.micros, Meter.VIDEO_MS: self.video_ms, Meter.GPU_MS: self.gpu_ms}[meter]

    def released(self) -> Self:
        """The same amounts, given back."""
        return type(self)(-self.micros, -self.video_ms, -self.gpu_ms)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    kind: Kind
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to bill: kept with the entries, because the video's own metadata may be erased before its bill is."""

    key_id: UUID | None
    model: str  # the catalogue's name
    labels: dict[str, str] = field(default_factory=dict[str, str])


def used(held: Amounts, gpu_ms: int, *, completed: bool) -> Amounts | None:
    """What an end charges: everything for a result, else the GPU time that was burnt; None if that is nothing."""
    if completed:
        return Amounts(held.micros, held.video_ms, gpu_ms)
    return Amounts(gpu_ms=gpu_ms) if gpu_ms else None
