"""Do the servers behind us answer? Asked in threads of its own, so that a silent one keeps nobody waiting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from domain.errors import NotFound, Unavailable
from storage.database import Database
from storage.hints import Bell
from storage.objects import ObjectStore
from storage.outages import OUTAGES

PATIENCE_SECONDS = 2.0
_NO_SUCH_KEY = "probe/nothing"


class Probes:
    """One question per server."""

    def __init__(self, database: Database, objects: ObjectStore, bell: Bell) -> None:
        self._database = database
        self._objects = objects
        self._bell = bell
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="probe")

    def ask(self) -> dict[str, bool]:
        """Which of database, redis and s3 answered within two seconds."""
        questions: dict[str, Callable[[], bool]] = {
            "database": self._database_answers,
            "redis": lambda: self._bell.length("screen") is not None,
            "s3": self._objects_answer,
        }
        asked = {name: self._threads.submit(question) for name, question in questions.items()}
        answers: dict[str, bool] = {}
        for name, future in asked.items():
            try:
                answers[name] = future.result(PATIENCE_SECONDS)
            except TimeoutError:
                future.cancel()
                answers[name] = False
        return answers

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

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
