"""Do the servers behind us answer? Asked in threads of its own, so that a silent one keeps nobody waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from domain.errors import NotFound, Unavailable
from storage.database import Database
from storage.hints import Bell
from storage.objects import ObjectStore
from storage.outages import OUTAGES

PATIENCE_SECONDS = 2.0
_NO_SUCH_KEY = "probe/nothing"


class Probes:
    """One question and one thread per server. Belongs to the event loop."""

    def __init__(self, database: Database, objects: ObjectStore, bell: Bell) -> None:
        self._database = database
        self._objects = objects
        self._questions: dict[str, Callable[[], bool]] = {
            "database": self._database_answers,
            "redis": lambda: bell.length("screen") is not None,
            "s3": self._objects_answer,
        }
        self._threads = ThreadPoolExecutor(len(self._questions), thread_name_prefix="probe")
        self._asked: dict[str, Future[bool]] = {}

    async def ask(self) -> dict[str, bool]:
        """Which of database, redis and s3 answered within two seconds."""
        waiting = {name: asyncio.wrap_future(self._answer(name)) for name in self._questions}
        answered, silent = await asyncio.wait(waiting.values(), timeout=PATIENCE_SECONDS)
        for future in silent:
            future.cancel()
        return {name: future in answered and future.result() for name, future in waiting.items()}

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answer(self, name: str) -> Future[bool]:
        """The question that is on its way, or a new one: a silent server never takes the thread of another."""
        asked = self._asked.get(name)
        if asked is None or asked.done():
            asked = self._asked[name] = self._threads.submit(self._questions[name])
        return asked

    def _database_answers(self) -> bool:
        try:
            with self._database.transaction_for_any_tenant():
                return True
        except OUTAGES:
            return False

    def _objects_answer(self) -> bool:
        try:
            self._objects.get(_NO_SUCH_KEY)
        except NotFound:
            return True
        except Unavailable:
            return False
        return True
