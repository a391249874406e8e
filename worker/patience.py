"""Work that is done is not thrown away because a server is away for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from domain.errors import Unavailable
from storage.outages import OUTAGES
from worker.lease import Pulse

log = logging.getLogger(__name__)

AWAY: tuple[type[Exception], ...] = (*OUTAGES, Unavailable)
AGAIN_SECONDS = 0.5

T = TypeVar("T")


class OutOfPatience(Exception):
    """The store refuses, or is silent, for so long that this attempt ends; the video is tried again later."""


def insist(pulse: Pulse, call: Callable[[], T]) -> T:
    """What `call` returns, however long the database is away, and for `patience_seconds` the store.

    `call` must bear being repeated. Raises OutOfPatience; Interrupted if the lease is lost meanwhile, or if the worker
    leaves and its grace is over.
    """
    waited = False
    give_up_at = time.monotonic() + pulse.patience_seconds
    while True:
        try:
            return call()
        except AWAY as error:
            if not waited:
                log.warning("a server is away; the work waits", extra={"error": type(error).__name__})
            waited = True
            if isinstance(error, Unavailable) and time.monotonic() > give_up_at:
                raise OutOfPatience(error.message) from error
            pulse.hold_out(AGAIN_SECONDS)
