"""What a decode may take, and why one ends without a result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MEBIBYTE = 1 << 20
SMALLEST_EDGE = 16  # pixels
MOST_PICTURE_PIXELS = 4096 * 4096
MOST_CLIP_PIXELS = 2560 * 1440
LONGEST_EDGE = 8192
MOST_FPS = 60
SLACK_SECONDS = 0.5  # of a clip that is longer than its last picture's time


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one decode. Those of the process are the kernel's to enforce: whoever breaks them is killed."""

    seconds: float = 0.0  # longest clip; pictures have none
    pixels: int = MOST_PICTURE_PIXELS  # of one frame
    cpu_seconds: int = 10
    wall_seconds: float = 20.0
    memory_bytes: int = 768 * MEBIBYTE  # of address space, beyond what the empty process has
    file_bytes: int = 128 * MEBIBYTE  # of the result


class Reason(StrEnum):
    """Why there is no result."""

    UNREADABLE = "unreadable"  # damaged, or of a kind that is not taken
    MISMATCH = "mismatch"  # not of the size that was asked for
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"  # too many pixels
    TOO_LONG = "too_long"  # too many seconds
    NO_VIDEO = "no_video"  # no stream of a codec that is taken
    EXPENSIVE = "expensive"  # it did not end within its limits of time, memory and result


class Refusal(Exception):
    """Raised inside the child; outside it is a value."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
