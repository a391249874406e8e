"""Batches: many creates from one file, worked off in the background. Statuses and limits; what a line may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ENDPOINT = "/v1/videos"
METHOD = "POST"
WINDOW = "24h"
WINDOW_SECONDS = 86_400
KEEP_SECONDS = 86_400  # how long results stay after the window, at least
LEAST_OUTPUT_SECONDS, MOST_OUTPUT_SECONDS = 3_600, 2_592_000  # the most is the default: results quote prompts
CUSTOM_ID_LIMIT = 512
MOST_FAULTS = 100  # that a failed batch lists
MOST_OPEN = 100  # batches of a tenant that are not over
MOST_FAILURES = 3  # of turns that begin a batch, before it is given up
MOST_FAILED_TURNS = 24  # in a row at one that has begun: an hour and a half, so that a mishap of ours may pass
PRIORITY = -1_000  # added to what a line asks for: behind everything that somebody waits for


class Status(StrEnum):
    """Where a batch stands, in OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


OPEN = frozenset({Status.VALIDATING, Status.IN_PROGRESS, Status.FINALIZING, Status.CANCELLING})
CANCELLABLE = frozenset({Status.VALIDATING, Status.IN_PROGRESS})


class LineState(StrEnum):
    """Where one line of a batch stands."""

    WAITING = "waiting"
    CREATED = "created"  # its video lives
    COMPLETED = "completed"
    FAILED = "failed"  # refused, or its video has no result


@dataclass(frozen=True, slots=True)
class Line:
    """One request of the input file."""

    number: int  # from 1
    custom_id: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the input file; `line` is None where it is the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


# Why a line has no response: code -> the sentence beside it.
LINE_ERRORS = {
    "batch_cancelled": "This request could not be executed before the batch was cancelled.",
    "batch_failed": "This request could not be executed before the batch failed.",
    "batch_expired": "This request could not be executed before the completion window expired.",
    "video_deleted": "The video was deleted before the batch ended.",
}


def check(number: int, entry: dict[str, Any]) -> Line | Fault:
    """One line's object as a request, or what is wrong with it."""
    custom_id, body = entry.get("custom_id"), entry.get("body")
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= CUSTOM_ID_LIMIT:
        return Fault(
            "invalid_custom_id", f"custom_id must be a text of 1 to {CUSTOM_ID_LIMIT} characters.", number, "custom_id"
        )
    if entry.get("method") != METHOD:
        return Fault("invalid_method", f"method must be '{METHOD}'.", number, "method")
    if entry.get("url") != ENDPOINT:
        return Fault("invalid_url", f"url must be '{ENDPOINT}', the endpoint of the batch.", number, "url")
    if not isinstance(body, dict):
        return Fault("invalid_body", "body must be an object.", number, "body")
    others = sorted(entry.keys() - {"custom_id", "method", "url", "body"})
    if others:
        return Fault("unknown_parameter", f"Unknown parameter: '{others[0][:64]}'.", number, others[0][:64])
    return Line(number, custom_id, body)  # pyright: ignore[reportUnknownArgumentType] - of JSON, so its keys are texts


def duplicates(lines: Sequence[Line]) -> list[Fault]:
    """A fault for every line whose custom_id an earlier one has."""
    first: dict[str, int] = {}
    faults: list[Fault] = []
    for line in lines:
        earlier = first.setdefault(line.custom_id, line.number)
        if earlier != line.number:
            message = f"The custom_id of this line was used in line {earlier} already."
            faults.append(Fault("duplicate_custom_id", message, line.number, "custom_id"))
    return faults
