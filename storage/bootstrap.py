"""What must exist before the first migration: the three roles. Running it again changes nothing but the password."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from storage.database import SERVICE_ROLE, TENANT_ROLE

LOGIN_ROLE = "kinema_login"
_TIMEOUTS = {
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "2s",
    "statement_timeout": "15s",
    "timezone": "UTC",
}


def bootstrap(owner_url: str, login_password: str) -> None:
    """Create the roles as the owner of the database.

    `kinema_login` may connect and nothing else; a transaction switches to `kinema_tenant` (row-level security by
    tenant) or `kinema_service` (all rows). Neither owns a table, so no policy is bypassed.
    """
    engine = sa.create_engine(owner_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('kinema bootstrap'))"))
        for role, attributes in ((TENANT_ROLE, "NOLOGIN"), (SERVICE_ROLE, "NOLOGIN"), (LOGIN_ROLE, "LOGIN NOINHERIT")):
            _create_role(connection, role, attributes)
        # A migration that fills in rows sees them as the service does; the owner itself sees none.
        connection.execute(sa.text(f"GRANT {SERVICE_ROLE} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE"))
        _let_login_switch(connection, login_password)
    engine.dispose()


def login_url(owner_url: str, login_password: str) -> str:
    """The URL that the processes connect with: the same server and database, the login role."""
    url = sa.make_url(owner_url).set(username=LOGIN_ROLE, password=login_password)
    return url.render_as_string(hide_password=False)


def password_of(url: str) -> str | None:
    """The password that a database URL carries."""
    password = sa.make_url(url).password
    return None if password is None else str(password)


def _create_role(connection: Connection, role: str, attributes: str) -> None:
    known = connection.scalar(sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
    if known is None:
        connection.execute(sa.text(f"CREATE ROLE {role} {attributes}"))


def _let_login_switch(connection: Connection, password: str) -> None:
    # DDL takes no parameters; quote_literal makes the password safe.
    quoted = connection.scalar(sa.text("SELECT quote_literal(:password)"), {"password": password})
    connection.execute(sa.text(f"ALTER ROLE {LOGIN_ROLE} PASSWORD {str(quoted).replace(':', chr(92) + ':')}"))
    connection.execute(sa.text(f"GRANT {TENANT_ROLE}, {SERVICE_ROLE} TO {LOGIN_ROLE}"))
    for name, value in _TIMEOUTS.items():
        connection.execute(sa.text(f"ALTER ROLE {LOGIN_ROLE} SET {name} = '{value}'"))
