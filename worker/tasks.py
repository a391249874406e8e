"""The one task: look at a queue and work it off."""

from __future__ import annotations

import os
import signal
import threading
from functools import cache, partial
from types import FrameType

from celery import signals

from storage.hints import DELIVER, RING_TASK
from worker import webhooks
from worker.app import QUEUES_VARIABLE, app, children, settings
from worker.deafness import Ears, end_listener, leaving_seconds
from worker.pipeline.work import work_off
from worker.presence import Presence
from worker.process import Process
from worker.warden import Warden

_turns = webhooks.Turns()
_lock = threading.RLock()  # thirty-two deliverers may ask at once


@cache
def _made() -> tuple[Process, Presence, Ears]:
    process = Process(settings, tuple(os.environ[QUEUES_VARIABLE].split(",")))
    presence = Presence(process)
    listener = os.getpid() if DELIVER in process.worker.queues else os.getppid()  # deliverers are its threads
    leave = partial(end_listener, listener, leaving_seconds(settings.grace_seconds))
    return process, presence, Ears(process, presence, leave)


@cache
def _warden() -> Warden:
    return Warden(settings, children)


def _ours() -> tuple[Process, Presence, Ears]:
    """What this process owns, made once."""
    with _lock:
        return _made()


@app.task(name=RING_TASK)
def look(queue: str) -> None:
    """Claim and run whatever waits in the queue."""
    process, presence, ears = _ours()
    ears.heard()
    if queue == DELIVER:

        def keep_going() -> bool:
            ears.heard()  # while all threads deliver, none is left to take a hint: that is not deafness
            return not process.draining.is_set()

        webhooks.deliver_due(
            process.database,
            settings.webhook_keys,
            allow_loopback=settings.webhook_allow_loopback,
            keep_going=keep_going,
            turns=_turns,
        )
    else:
        work_off(process, presence, queue)


@signals.worker_process_init.connect  # pyright: ignore[reportUntypedFunctionDecorator] - celery's signals are untyped
def begin(**_: object) -> None:
    """In a new child: listen for the drain signal, and say that a worker is there."""
    signal.signal(signal.SIGUSR2, _drain)
    _ours()


def _drain(_number: int, _frame: FrameType | None) -> None:
    _ours()[0].draining.set()


@signals.worker_ready.connect  # pyright: ignore[reportUntypedFunctionDecorator] - as above
def begin_threads(**_: object) -> None:
    """Deliverers have no child, so the worker itself is present; the other workers' parents watch their children."""
    if os.environ[QUEUES_VARIABLE] == DELIVER:
        _ours()
    else:
        _warden().start()


@signals.worker_shutting_down.connect  # pyright: ignore[reportUntypedFunctionDecorator] - as above
def drain_threads(**_: object) -> None:
    """Deliverers finish the message in hand and take no other; the other workers' children have a bound."""
    if os.environ[QUEUES_VARIABLE] == DELIVER:
        _ours()[0].draining.set()
    else:
        _warden().leave()
