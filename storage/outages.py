"""What a database that does not answer raises: refused, lost or slow connections, lock and statement time-outs."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, TimeoutError  # noqa: A004 - SQLAlchemy's own name

# InternalError is how a server in recovery (read only) and a transaction that was idle for too long look.
OUTAGES: tuple[type[Exception], ...] = (OperationalError, InterfaceError, InternalError, TimeoutError)


def is_away(error: Exception) -> bool:
    """Whether nobody could reach the database, so that leases could not be renewed; a lock time-out is not that."""
    if not isinstance(error, DBAPIError):
        return True
    state: str | None = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or state is None or state.startswith("57P") or state == "25006"
