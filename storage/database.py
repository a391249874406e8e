"""Connections and transactions.

Every transaction names its role and tenant with its BEGIN, so that row-level security decides what it sees, and so
that a pooler in transaction mode can sit in between. A connection by itself may see nothing.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

__all__ = ["Connection", "Database"]  # entrances hold connections, and need not know whose they are

FRESH_SECONDS = 1.0  # for which a connection need not be asked again whether it lives: a round trip less each time
_USED = "used"
POOL_SIZE = 20  # the same number as API threads: a thread never waits for a connection

TENANT_ROLE = "kinema_tenant"
SERVICE_ROLE = "kinema_service"
# A server that answers no more is given up after ten seconds, in milliseconds and seconds as libpq counts them.
_UNREACHABLE = {"tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
_OPENING = "opening"  # where a connection carries what its next transaction begins with


class OpeningDialect(PGDialect_psycopg):
    """psycopg, but a transaction begins with role and tenant in one message.

    A listener to SQLAlchemy's "begin" could do the same, at a twentieth of a create: one listener makes every
    statement look for listeners.
    """

    driver = "opening"
    supports_statement_cache = True

    def do_begin(self, dbapi_connection: PoolProxiedConnection) -> None:
        """Also for who uses the engine itself: a plain transaction that may see nothing."""
        dbapi_connection.cursor().execute(dbapi_connection.info.pop(_OPENING, "BEGIN"))


registry.register("postgresql.opening", __name__, OpeningDialect.__name__)


class Database:
    """One pool. Time-outs and roles are set on the login role by `storage.bootstrap`."""

    def __init__(self, url: str, *, pool_size: int = POOL_SIZE) -> None:
        self.engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+opening"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            # No server-side prepared statements: they do not survive a pooler, nor fit partial indexes.
            # The driver begins no transaction: the dialect does, together with role and tenant in one round trip.
            connect_args={"prepare_threshold": None, "autocommit": True, "connect_timeout": 5, **_UNREACHABLE},
            hide_parameters=True,  # prompts do not belong in logs
        )
        event.listen(self.engine, "checkin", _note)
        event.listen(self.engine, "checkout", self._look)

    @contextmanager
    def transaction(self, tenant_id: UUID) -> Generator[Connection]:
        """One transaction that sees and writes this tenant's rows only."""
        with self._begun(TENANT_ROLE, str(tenant_id)) as connection:
            yield connection

    @contextmanager
    def transaction_for_any_tenant(self) -> Generator[Connection]:
        """One transaction of the service itself: workers, dispatcher, authentication."""
        with self._begun(SERVICE_ROLE, "") as connection:
            yield connection

    def close(self) -> None:
        """Close every connection of the pool."""
        self.engine.dispose()

    @contextmanager
    def _begun(self, role: str, tenant: str) -> Generator[Connection]:
        """Neither text may come from outside: several statements at once can have no parameters."""
        opening = f"BEGIN; SET LOCAL ROLE {role}; SET LOCAL kinema.tenant = '{tenant}'"
        with self.engine.connect() as connection:
            connection.info[_OPENING] = opening
            with connection.begin():
                yield connection

    def _look(self, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Ask a connection that has rested whether it lives; one just used has said so. A dead one is replaced."""
        if time.monotonic() - record.info.get(_USED, 0.0) < FRESH_SECONDS:
            return
        try:
            self.engine.dialect.do_ping(connection)
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error


def _note(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = time.monotonic()
