"""What keys of tenants and of administrators share as rows: a digest under a pepper, an end, a last use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from domain import keys
from domain.ids import new_id
from storage.tables import NOW

USE_INTERVAL = timedelta(minutes=1)  # how exact `last_used_at` is


def insert_for_any_tenant(
    connection: Connection, table: Table, prefix: str, peppers: Mapping[str, bytes], values: Any
) -> str:
    """Store a new key under the first pepper and return it in the clear, for the only time."""
    pepper_id, pepper = next(iter(peppers.items()))
    key = keys.issue(prefix)
    sealed = {"digest": keys.digest(key, pepper), "pepper_id": pepper_id, "hint": keys.hint(key)}
    connection.execute(sa.insert(table).values({"id": new_id(), **values, **sealed}))
    return key


def alive(table: Table) -> tuple[sa.ColumnElement[bool], ...]:
    """Neither revoked nor expired."""
    return table.c.revoked_at.is_(None), sa.or_(table.c.expires_at.is_(None), table.c.expires_at > NOW)


def ends_in(seconds: float | None) -> sa.ColumnElement[Any] | None:
    """The moment that lies so far ahead on the database's clock; None for a key that does not end."""
    return None if seconds is None else NOW + timedelta(seconds=seconds)


def digests(key: str, peppers: Mapping[str, bytes]) -> list[bytes]:
    """Every digest under which the key may be stored."""
    return [keys.digest(key, pepper) for pepper in peppers.values()]


def note_uses_for_any_tenant(
    connection: Connection, table: Table, uses: Mapping[UUID, bytes | None], pepper_id: str
) -> None:
    """Write down that keys were used, at most once a minute each. A digest is the key's under the newest pepper."""
    stale = sa.or_(table.c.last_used_at.is_(None), table.c.last_used_at < NOW - USE_INTERVAL)
    # Another process that writes the same uses is not waited for: its word is as good.
    mine = sa.select(table.c.id).where(table.c.id.in_(uses), stale).with_for_update(key_share=True, skip_locked=True)
    connection.execute(sa.update(table).where(table.c.id.in_(mine)).values(last_used_at=NOW))
    for key_id, digest in uses.items():
        if digest is not None:
            moved = sa.update(table).where(table.c.id == key_id, table.c.pepper_id != pepper_id)
            connection.execute(moved.values(digest=digest, pepper_id=pepper_id))
