"""What was charged, added up: by tenant, key, model, a label, video and day, in any choice of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from uuid import UUID

from domain.errors import InvalidRequest

LABEL_LIMIT = 64  # characters of a metadata key


class By(StrEnum):
    """What lines can be told apart by. The order is that of the lines."""

    DAY = "day"  # of the charge, in UTC
    TENANT = "tenant"
    KEY = "key"
    MODEL = "model"
    LABEL = "label"  # the value under one metadata key
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which lines there are; `label` is the metadata key of By.LABEL."""

    by: frozenset[By]
    label: str = ""

    @property
    def ordered(self) -> tuple[By, ...]:
        """In the order of By."""
        return tuple(each for each in By if each in self.by)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """Charges added up. What the grouping does not ask for is None; so is the key of a video that had none."""

    day: date | None
    tenant: UUID | None
    key: UUID | None
    model: str | None
    label: str | None  # "" where a video has no such label
    video: UUID | None
    videos: int  # that were charged for anything
    micros: int
    video_ms: int
    gpu_ms: int


def grouping(text: str) -> Grouping:
    """`day,model,label:customer` as a Grouping. Raises InvalidRequest."""
    by: set[By] = set()
    label = ""
    for part in (part.strip() for part in text.split(",")):
        name, colon, key = part.partition(":")
        if name not in By.__members__.values() or by & {By(name)} or (name == By.LABEL) != bool(colon):
            raise InvalidRequest(
                f"Invalid value: '{part[:80]}'. Name each of {', '.join(By)} at most once; label as 'label:KEY'.",
                param="group_by",
            )
        if colon and (not 0 < len(key) <= LABEL_LIMIT or "\0" in key):
            raise InvalidRequest("'label:' wants the name of a metadata key.", param="group_by")
        by.add(By(name))
        label = label or key
    return Grouping(frozenset(by), label)


def moment(text: str, param: str) -> datetime:
    """A date (its first moment in UTC), an ISO 8601 time or Unix seconds. Raises InvalidRequest."""
    try:
        found = datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidRequest(
            f"Invalid value: '{text[:40]}'. Give a date, an ISO 8601 time or Unix seconds.", param=param
        ) from None
