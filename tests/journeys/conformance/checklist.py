"""The 22 lines, and which function shows which."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.journeys.conformance.stage import Stage

LINES = {
    1: "create with a prompt only",
    2: "create with all fields and extra_body",
    3: "a file as reference; of the wrong size is 400",
    4: "input_reference as data URL, http URL, file id",
    5: "create from a JSON body",
    6: "create_and_poll honours the interval of the header",
    7: "a failed video says why",
    8: "list: order, limit, after, auto-paging; another tenant sees nothing",
    9: "another tenant's video is 404",
    10: "delete completed, failed, queued, running",
    11: "content: variants, unfinished, expired, redirected, direct, in ranges",
    12: "remix",
    13: "edit and extend by file, by id, by JSON; of an unfinished source is 400",
    14: "characters",
    15: "each status with its exception and its number of requests",
    16: "Idempotency-Key replays, keyless retries are recognised",
    17: "x-request-id on every answer",
    18: "webhooks unwrap: good, bad, stale, rotated, redelivered",
    19: "webhook endpoints: create, read, update, list, rotate, test, delete",
    20: "everything again in strict mode at Sora's sizes",
    21: "everything again with the asynchronous client",
    22: "the Node client",
}
# Shown by how the others are run, not by a function: strict and asynchronous modes, and another language.
BY_MODE = frozenset({20, 21, 22})

Show = Callable[["Stage"], None]
SHOWN: dict[int, list[Show]] = {}


def line(number: int) -> Callable[[Show], Show]:
    """Marks a function as showing that line, or part of it."""

    def register(show: Show) -> Show:
        SHOWN.setdefault(number, []).append(show)
        return show

    return register
