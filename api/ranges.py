"""Byte ranges and validators of a download (RFC 9110), as pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes that are."""
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range lies outside of the file (416)."""


def parse(header: str | None, total: int) -> Range | None:
    """The one range that is asked for; None for the whole, or for what may be ignored. Raises Unsatisfiable."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        asked = Range(max(total - int(match[2]), 0), total - 1)
    else:
        asked = Range(int(match[1]), min(int(match[2] or total - 1), total - 1))
        if match[2] and int(match[2]) < asked.first:
            return None
    if asked.length < 1 or asked.first >= total:
        raise Unsatisfiable
    return asked


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match names this file."""
    if header is None:
        return False
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or etag in named
