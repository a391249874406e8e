"""What a database that does not answer raises: refused, lost or slow connections, lock and statement time-outs."""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError  # noqa: A004 - SQLAlchemy's own name

OUTAGES: tuple[type[Exception], ...] = (OperationalError, InterfaceError, TimeoutError)
