"""What one attempt at delivering a webhook means: done, again later, or given up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from domain.retries import webhook_delay

MAX_RESPONSE = 16_384  # bytes of an answer that are kept
_GONE = 410
_THROTTLED = {429, 502, 504}
_THROTTLE_SECONDS = 60.0


class ErrorClass(StrEnum):
    """Why an attempt did not succeed."""

    DNS = "E_DNS"  # the name did not resolve
    TARGET = "E_TARGET"  # the URL or an address behind it is refused
    CONNECTION = "E_CONNECTION"  # refused, reset, unreachable
    TLS = "E_TLS"  # no handshake, or the certificate is not valid for the host
    TIMEOUT = "E_TIMEOUT"  # no whole answer in time
    PROTOCOL = "E_PROTOCOL"  # the answer is not HTTP
    HTTP = "E_HTTP"  # a status other than 2xx
    SECRET = "E_SECRET"  # noqa: S105 - the name of a failure: the signing secret could not be read


@dataclass(frozen=True, slots=True)
class Attempt:
    """What happened: a status, or an error, or a status that is an error; the answer's beginning."""

    duration_ms: int
    status: int | None = None
    error: ErrorClass | None = None
    response: bytes = b""
    retry_after: float | None = None  # seconds, as the receiver asked
    timings: dict[str, int] = field(default_factory=dict[str, int])  # ms of each phase that was reached, by its name


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Never again; `gone` if the receiver said so (410), which disables the endpoint."""

    gone: bool = False


Verdict = Delivered | RetryIn | GivenUp


def judge(attempt: Attempt, attempts: int, jitter: float) -> Verdict:
    """The verdict on the n-th attempt. `jitter` in [-1, 1] spreads the retries."""
    if attempt.error is None:
        return Delivered()
    if attempt.status == _GONE:
        return GivenUp(gone=True)
    delay = webhook_delay(attempts, jitter, attempt.retry_after)
    if delay is None:
        return GivenUp()
    throttled = attempt.status in _THROTTLED or attempt.error is ErrorClass.TIMEOUT
    return RetryIn(max(delay, _THROTTLE_SECONDS) if throttled else delay)


def retry_after_seconds(value: str, now: datetime) -> float | None:
    """A Retry-After header, in seconds or as a date; None if it says nothing usable."""
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # an offset may be any number, and a year the last one
        return None
