"""What a tenant may use of each meter in a period. `storage/ledger.py` keeps count; the calendar is UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from domain.errors import QuotaExceeded
from domain.ledger import Meter

EPOCH = datetime.fromtimestamp(0, UTC)
NAMES = {Meter.MICROS: "spending", Meter.VIDEO_MS: "video time", Meter.GPU_MS: "GPU time"}


class Period(StrEnum):
    """How long a limit counts before it begins anew."""

    TOTAL = "total"
    DAY = "day"
    MONTH = "month"

    def start(self, at: datetime) -> datetime:
        """The first moment of the period that holds `at`."""
        midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return {Period.TOTAL: EPOCH, Period.DAY: midnight, Period.MONTH: midnight.replace(day=1)}[self]

    def end(self, at: datetime) -> datetime | None:
        """The first moment after the period that holds `at`; None: it has no end."""
        start = self.start(at)
        if self is Period.TOTAL:
            return None
        return start + timedelta(days=1) if self is Period.DAY else (start + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit and how much of it is gone: `held` by videos that live, `used` in the period since `since`."""

    meter: Meter
    period: Period
    limit: int
    held: int
    used: int
    since: datetime

    @property
    def left(self) -> int:
        """What a create may still set aside; below 0 after a limit was lowered."""
        return self.limit - self.held - self.used

    @property
    def resets_at(self) -> datetime | None:
        """When `used` becomes 0."""
        return self.period.end(self.since)

    def at(self, moment: datetime) -> Quota:
        """The same limit as it stands at `moment`: what was used in an earlier period counts no more."""
        start = self.period.start(moment)
        if start <= self.since:
            return self
        return Quota(self.meter, self.period, self.limit, self.held, 0, start)

    def refusal(self, asked: int) -> QuotaExceeded:
        """Why a create that sets so much aside is not accepted. Waiting helps if what others hold will have ended."""
        clears_at = self.resets_at if asked <= self.limit else None
        length = "in all" if self.period is Period.TOTAL else f"a {self.period}"
        message = (
            "You exceeded your current quota, please check your plan and billing details. "
            f"The limit of {NAMES[self.meter]} is {self.limit} {self.meter} {length}."
        )
        if clears_at is not None:
            message += f" It begins anew at {clears_at:%Y-%m-%dT%H:%M:%SZ}."
        return QuotaExceeded(message, clears_at=clears_at)
