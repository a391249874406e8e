"""What a database that does not answer raises: refused, lost or slow connections, lock and statement time-outs."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, TimeoutError  # noqa: A004 - SQLAlchemy's own name

# InternalError is how a server in recovery (read only) and a transaction that was idle for too long look.
OUTAGES: tuple[type[Exception], ...] = (OperationalError, InterfaceError, InternalError, TimeoutError)
DEADLOCK = "40P01"


def is_away(error: Exception) -> bool:
    """Whether nobody could reach the database, so that leases could not be renewed; a lock time-out is not that."""
    if not isinstance(error, DBAPIError):
        return True
    state = _state(error)
    return error.connection_invalidated or state is None or state.startswith("57P") or state == "25006"


def may_hinder_renewals(error: Exception) -> bool:
    """Whether what one of OUTAGES says of one write may hold for all: a disk that stalls or is full, a lock on a table.

    A deadlock is between two, and over with its error.
    """
    return not isinstance(error, DBAPIError) or _state(error) != DEADLOCK


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)
