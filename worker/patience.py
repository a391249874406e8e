"""Work that is done is not thrown away because a server is away for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from domain.errors import Unavailable
from storage.outages import OUTAGES
from worker.lease import Pulse

log = logging.getLogger(__name__)

AWAY: tuple[type[Exception], ...] = (*OUTAGES, Unavailable)
AGAIN_SECONDS = 0.5

T = TypeVar("T")


def insist(pulse: Pulse, call: Callable[[], T]) -> T:
    """What `call` returns, however long its server is away; `call` must bear being repeated.

    Raises Interrupted if the lease is lost meanwhile, or if the worker leaves and its grace is over.
    """
    waited = False
    while True:
        try:
            return call()
        except AWAY as error:
            if not waited:
                log.warning("a server is away; the work waits", extra={"error": type(error).__name__})
            waited = True
            pulse.hold_out(AGAIN_SECONDS)
