"""Logs: one JSON object a line on standard error, with whatever context is bound."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType

_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039 - never changed in place
_DATABASE = {"sqlalchemy", "psycopg"}  # packages whose errors quote statements and rows: prompts among them
_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
            **{key: value for key, value in vars(record).items() if key not in _OWN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)

    def formatException(  # noqa: N802 - logging's own name
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return "\n".join(reversed(list(_told(ei[1]))))


def _told(error: BaseException | None) -> Iterator[str]:
    """An error and what led to it, the last first, each with its stack."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        stack = "".join(traceback.format_tb(error.__traceback__))
        yield f"{stack}{_said(error)}"
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - of any class
                yield from _told(part)  # pyright: ignore[reportUnknownArgumentType] - JSON
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _said(error: BaseException) -> str:
    """Its class and text; of the database's errors the SQLSTATE instead of the text."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    if type(error).__module__.partition(".")[0] not in _DATABASE:
        return f"{kind}: {error}"
    state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return f"{kind} (SQLSTATE {state})"


def configure(level: str) -> None:
    """Log to standard error from here on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("botocore", "boto3", "urllib3", "httpx", "httpcore", "kombu", "amqp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@contextmanager
def bound(**values: str) -> Generator[None]:
    """Add these to every line that is logged inside."""
    token = _context.set({**_context.get(), **values})
    try:
        yield
    finally:
        _context.reset(token)
