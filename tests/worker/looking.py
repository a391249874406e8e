"""A renderer that was told to look for work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.pipeline.work import work_off
from worker.presence import Presence
from worker.process import Process


@contextmanager
def looking(process: Process, presence: Presence, within: float = 60) -> Iterator[threading.Thread]:
    """A hint has come; at the end there is nothing left to do."""
    thread = threading.Thread(target=work_off, args=(process, presence, process.worker.queues[0]))
    thread.start()
    yield thread
    thread.join(within)
    assert not thread.is_alive()
