from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from runtime import logs
from storage.database import Database

PROMPT = "a secret castle of glass"
log = logging.getLogger("kinema.test")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        logs.configure("info")
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def told(written: io.StringIO) -> str:
    line: dict[str, Any] = json.loads(written.getvalue())
    return line["exception"]


def test_an_error_of_the_database_is_logged_without_the_rows_that_it_quotes(
    database: Database, written: io.StringIO
) -> None:
    def fail() -> None:
        with database.transaction_for_any_tenant() as connection:
            connection.execute(sa.text("SELECT CAST(:value AS integer)"), {"value": PROMPT})

    with pytest.raises(DBAPIError, match=PROMPT) as raised:
        fail()
    failure = RuntimeError("the turn failed")
    failure.__cause__ = raised.value
    log.error("unexpected", exc_info=failure)
    assert PROMPT not in written.getvalue()
    exception = told(written)
    assert exception.count("(SQLSTATE 22P02)") == 2, "the driver's own error and its wrapper"
    assert "psycopg.errors.InvalidTextRepresentation" in exception
    assert exception.endswith("RuntimeError: the turn failed")
    assert __file__ in exception, "the stack is there"


def test_errors_in_a_group_are_told_alike(written: io.StringIO) -> None:
    log.error("unexpected", exc_info=ExceptionGroup("both", [psycopg.DataError(PROMPT), ValueError("no")]))
    assert PROMPT not in written.getvalue()
    assert "psycopg.DataError (SQLSTATE None)" in told(written)
    assert "builtins.ValueError: no" in told(written)
