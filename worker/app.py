"""The Celery application, and how each kind of worker runs it.

A worker for renderers, screening or publishing has one spawned child per slot; the child claims and works, the
parent only listens. Deliveries run on threads. A hint carries the name of a queue and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from billiard.process import active_children
from celery import Celery, signals

from runtime import logs
from runtime.settings import Settings, load
from storage.hints import CONSUME_SECONDS, DELIVER, broker

QUEUES_VARIABLE = "KINEMA_WORKER_QUEUES"  # set by the parent for its spawned children

settings: Settings = load(needs=())  # `kinema serve` has demanded what these queues need
app: Celery = broker(settings.redis_url, CONSUME_SECONDS)
app.conf.include = ["worker.tasks"]


def serve(queues: Sequence[str], concurrency: int | None = None) -> None:
    """Work for these queues until SIGTERM. Does not return."""
    os.environ[QUEUES_VARIABLE] = ",".join(queues)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # inherited: a child that is still starting survives the drain signal
    threads = list(queues) == [DELIVER]
    app.conf.update(
        worker_pool="threads" if threads else "prefork",
        worker_concurrency=concurrency or (32 if threads else len(queues)),
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=900,
    )
    arguments = ["worker", "--queues", ",".join(queues), "--loglevel", settings.log_level]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--hostname", f"{os.getpid()}@%h"]
    sys.exit(app.worker_main(arguments))  # pyright: ignore[reportUnknownMemberType] - celery's stub is partial


@signals.setup_logging.connect  # pyright: ignore[reportUntypedFunctionDecorator] - celery's signals are untyped
def configure_logs(**_: object) -> None:
    """Ours, in place of Celery's."""
    logs.configure(settings.log_level)


@signals.worker_shutting_down.connect  # pyright: ignore[reportUntypedFunctionDecorator] - as above
def drain_children(**_: object) -> None:
    """Tell the children at once that the worker is leaving: a video in hand is finished or handed back."""
    for pid in children():
        os.kill(pid, signal.SIGUSR2)


def children() -> list[int]:
    """Of this process: those that claim and work."""
    return [child.pid for child in active_children() if child.pid is not None]
