"""The doorbell: a Celery message that says "look at queue X" and nothing else. It may be lost or doubled."""

from __future__ import annotations

import threading
from typing import Any, cast

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

RING_TASK = "kinema.look"
HINT_SECONDS = 60  # an older hint is dropped unread: what it spoke of was rung for again since
PUBLISH_SECONDS = 1.0  # a broker that takes longer over one hint counts as away
CONSUME_SECONDS = 10.0  # a listener waits for a hint inside one read, so its reads may last
REST_SECONDS = 0.05  # between two rounds of hints: the first goes out at once, a flood of creates becomes 20 a second
DELIVER = "deliver"  # the one queue that threads work off; the others are named after stages and render pools


def broker(redis_url: str, answer_seconds: float = PUBLISH_SECONDS) -> Celery:
    """A Celery application for ringing, or with CONSUME_SECONDS for listening: early acks, nothing prefetched.

    `answer_seconds` bounds every read and write.
    """
    app = Celery("kinema", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": "kinema:",
            "socket_timeout": answer_seconds,
            "socket_connect_timeout": 1,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "max_retries": 0,
        },
    )
    return app


class Bell:
    """Rings queues without ever failing: if the broker is away, the dispatcher rings again later."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self, queue: str) -> bool:
        """Ask one idle worker to look at the queue. False if the broker did not take it."""
        try:
            self._app.send_task(
                RING_TASK, args=[queue], queue=queue, retry=False, ignore_result=True, expires=HINT_SECONDS
            )
        except (OperationalError, RedisError, OSError):
            return False
        return True

    def length(self, queue: str) -> int | None:
        """Hints that wait in the queue; None if the broker does not answer."""
        try:
            with self._app.connection_for_read() as connection:
                channel = cast("Any", connection.default_channel)
                return int(channel.client.llen(queue))
        except (OperationalError, RedisError, OSError):
            return None


class Ringer:
    """One thread that rings for a whole process: a caller sets a flag and goes on, however slow the broker is."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._wanted: set[str] = set()
        self._lock = threading.Lock()
        self._flag = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
        self._thread.start()

    def want(self, queue: str) -> None:
        """Ring this queue soon; the wishes of a rest become one hint."""
        with self._lock:
            self._wanted.add(queue)
        self._flag.set()

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped.set()
        self._flag.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._flag.wait()
            self._flag.clear()
            with self._lock:
                wanted, self._wanted = self._wanted, set()
            for queue in wanted:
                self._bell.ring(queue)
            self._stopped.wait(REST_SECONDS)
