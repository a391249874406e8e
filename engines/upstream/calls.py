"""A call in a thread of its own, so that whoever waits for its answer is neither deaf nor bound by a far end's pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

SLICE = 0.5  # seconds at most between two chances to interrupt

_T = TypeVar("_T")


class Late(Exception):
    """The call was not over in time. It goes on by itself, and its answer is nobody's."""


class Call(Generic[_T]):
    """Work that has begun. Its thread ends with the process at the latest."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._ended: Future[_T] = Future()
        threading.Thread(target=self._run, args=(work,), name="far-end", daemon=True).start()

    def _run(self, work: Callable[[], _T]) -> None:
        try:
            self._ended.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._ended.set_exception(error)

    def outcome(self, rest: Callable[[float], None], until: float) -> _T:
        """What the work returns or raises; `rest(0)` is called every half a second until then.

        Raises Late once the clock (`time.monotonic`) is past `until`, and what `rest` raises.
        """
        while not self._ended.done():
            wait([self._ended], timeout=max(0.0, min(SLICE, until - time.monotonic())))
            if self._ended.done():
                break
            rest(0.0)
            if time.monotonic() >= until:
                raise Late
        return self._ended.result()

    def end(self) -> _T:
        """What the work returns or raises, however long it takes."""
        return self._ended.result()
