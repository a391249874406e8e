"""How a training shows itself: a bar on a terminal, a line now and then elsewhere; and how a slice of it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

EVERY = 15.0  # seconds between two lines

Report = Callable[[float, str], None]  # share that is done, from 0 to 1, and a line that says how it goes


class Paused(Exception):
    """The slice is over; what was learned is kept."""


@contextmanager
def reporting(minutes: float | None = None) -> Generator[Report]:
    """Shows what it is told on stderr; raises Paused from within a call once the minutes are over."""
    until = None if minutes is None else time.monotonic() + minutes * 60
    with _bar() if sys.stderr.isatty() else _lines() as show:

        def report(share: float, line: str) -> None:
            show(share, line)
            if until is not None and share < 1 and time.monotonic() >= until:
                raise Paused

        yield report


@contextmanager
def _bar() -> Generator[Report]:
    from rich.console import Console  # noqa: PLC0415 - workers that train do not all have it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - the same

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda share, line: bars.update(task, completed=share, description=line)


@contextmanager
def _lines() -> Generator[Report]:
    shown, last = float("-inf"), ""

    def show(share: float, line: str) -> None:
        nonlocal shown, last
        last = f"{share:4.0%}  {line}"
        if time.monotonic() - shown >= EVERY:
            print(last, file=sys.stderr, flush=True)
            shown, last = time.monotonic(), ""

    try:
        yield show
    finally:
        if last:
            print(last, file=sys.stderr, flush=True)
