"""The audit log: one row in the transaction of each administrative change. Rows are never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.administration import Actor
from domain.ids import earliest, new_id
from storage.tables import audit_log

# An entry's id and its time are of two clocks. The id bounds how much is read, the time decides.
_APART = timedelta(days=1)
_SECRET = frozenset({"digest", "key", "secret"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: who did what to which thing, as its public id, and the values that it changed."""

    id: UUID
    at: datetime
    actor: str
    action: str
    target: str
    tenant: UUID | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader looks for; None: whatever it is."""

    tenant: UUID | None = None
    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_COLUMNS = tuple(audit_log.c[field.name] for field in fields(Entry))


def record_for_any_tenant(
    connection: Connection,
    actor: Actor,
    action: str,
    target: str,
    *,
    tenant: UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write a change down. Of before and after only what differs is kept; secrets never are."""
    old, new = _plain(before), _plain(after)
    if old is not None and new is not None:
        changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        old = {name: value for name, value in old.items() if name in changed}
        new = {name: value for name, value in new.items() if name in changed}
    connection.execute(
        sa.insert(audit_log).values(
            id=new_id(),
            actor=actor.name,
            action=action,
            target=target,
            tenant=tenant,
            before=old,
            after=new,
            request_id=actor.request_id,
        )
    )


def page_for_any_tenant(
    connection: Connection, wanted: Wanted, *, after: UUID | None, limit: int
) -> tuple[tuple[Entry, ...], bool]:
    """Up to `limit` entries older than `after`, newest first, and whether there are more."""
    query = sa.select(*_COLUMNS)
    for name in ("tenant", "actor", "action", "target"):
        value = getattr(wanted, name)
        query = query if value is None else query.where(audit_log.c[name] == value)
    if wanted.since is not None:
        query = query.where(audit_log.c.at >= wanted.since, audit_log.c.id >= earliest(wanted.since - _APART))
    if wanted.until is not None:
        query = query.where(audit_log.c.at < wanted.until, audit_log.c.id < earliest(wanted.until + _APART))
    if after is not None:
        query = query.where(audit_log.c.id < after)
    rows = connection.execute(query.order_by(audit_log.c.id.desc()).limit(limit + 1)).mappings()
    found = tuple(_entry(row) for row in rows)
    return found[:limit], len(found) > limit


def _entry(row: RowMapping) -> Entry:
    values: dict[str, Any] = {**row}
    return Entry(**values)


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What JSON can hold of it."""
    if value is None:
        return None
    public = {name: each for name, each in value.items() if name not in _SECRET}
    return json.loads(json.dumps(public, default=str))
