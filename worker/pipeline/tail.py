"""While one video's files are written and stored, the next one is drawn: two videos at once, and never more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
Parts = Generator[None, None, T]  # work that yields when what is left of it may go on beside other work

STRAY_SECONDS = 3.0  # more than a tail takes that stops because its video was lost


def through(parts: Parts[T]) -> T:
    """Do all of it here and now."""
    while True:
        try:
            next(parts)
        except StopIteration as over:
            return over.value


def _never() -> float:
    return 0.0


class Tail:
    """What is left of one video, in a thread of its own. Leaving the block waits for it."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._lost_for: Callable[[], float] = _never

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()

    @property
    def busy(self) -> bool:
        """Whether it is at work."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def astray(self) -> bool:
        """Whether it goes on although its video was lost a while ago: perhaps it hangs."""
        return self.busy and self._lost_for() > STRAY_SECONDS

    def wait(self, seconds: float | None = None) -> bool:
        """Give it so long to end; None: as long as it takes. False: there was none."""
        if self._thread is None:
            return False
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._thread = None
        return True

    def follow(self, parts: Parts[object], lost_for: Callable[[], float] = _never) -> None:
        """Work here until the parts yield, then let the thread do the rest; here too while it has another's to do.

        `lost_for`: seconds since the video was lost, 0 while it is not.
        """
        for _ in parts:
            if self._take(partial(_finish, parts)):
                self._lost_for = lost_for
                return

    def _take(self, rest: Callable[[], None]) -> bool:
        if self.wait(0) and self._thread is not None:
            return False
        thread = threading.Thread(target=copy_context().run, args=(rest,), name="tail")
        try:
            thread.start()
        except RuntimeError:  # no more threads: then as ever, one after the other
            return False
        self._thread = thread
        return True


def _finish(parts: Parts[object]) -> None:
    try:
        through(parts)
    except Exception:  # nobody waits for a thread's errors; the lease that it held runs out
        log.exception("a tail failed")
