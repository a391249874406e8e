"""The one task: look at a queue and work it off."""

from __future__ import annotations

import os
import signal
from functools import cache
from types import FrameType

from celery import signals

from storage.hints import RING_TASK
from worker import webhooks
from worker.app import QUEUES_VARIABLE, app, settings
from worker.pipeline.work import work_off
from worker.presence import Presence
from worker.process import Process


@cache
def _process() -> Process:
    queues = tuple(os.environ[QUEUES_VARIABLE].split(","))
    return Process(settings, app, queues)


@cache
def _presence() -> Presence:
    return Presence(_process())


@app.task(name=RING_TASK)
def look(queue: str) -> None:
    """Claim and run whatever waits in the queue."""
    process = _process()
    if queue == "deliver":
        webhooks.deliver_due(process.database, settings.webhook_keys, allow_loopback=settings.webhook_allow_loopback)
    else:
        work_off(process, _presence(), queue)


@signals.worker_process_init.connect  # pyright: ignore[reportUntypedFunctionDecorator] - celery's signals are untyped
def begin(**_: object) -> None:
    """In a new child: listen for the drain signal, and say that a worker is there."""
    signal.signal(signal.SIGUSR2, _drain)
    _presence()


def _drain(_number: int, _frame: FrameType | None) -> None:
    _process().draining.set()


@signals.worker_ready.connect  # pyright: ignore[reportUntypedFunctionDecorator] - as above
def begin_threads(**_: object) -> None:
    """Deliverers have no child; the worker itself is present."""
    if os.environ[QUEUES_VARIABLE] == "deliver":
        _presence()
