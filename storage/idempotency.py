"""What creating requests made, so that a repetition of one finds it instead of making it again.

Two ways to tell that a request is a repetition: its client named it (`Idempotency-Key`), or its client counts its
retries and sends the same again. The locks here are the first of a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from storage.tables import NOW, TICK, idempotency_keys, submissions

KEY_TIME = timedelta(hours=24)
MOST_COUNT = 100  # of the retries of one request
RETRY_TIME = timedelta(seconds=120)  # an older resource is no longer what a counted retry asks for
SUBMISSION_TIME = timedelta(minutes=10)  # the slowest upload is over by then


@dataclass(frozen=True, slots=True)
class Named:
    """What a key stands for."""

    fingerprint: bytes
    resource: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A request of a client that counts its retries: `count` is 0 for the first, `age` how long it is with us."""

    key_id: UUID
    fingerprint: bytes
    count: int
    age: timedelta


def lock_key(connection: Connection, tenant_id: UUID, key: str) -> bool:
    """Keep the key until commit. False while another transaction has it."""
    return bool(connection.scalar(_TRY_LOCK, {"name": f"kinema key {tenant_id} {key}"}))


def find_key(connection: Connection, tenant_id: UUID, key: str) -> Named | None:
    """What the key stands for; None if it is new, or was forgotten."""
    row = connection.execute(_FIND_KEY, {"of": tenant_id, "name": key}).one_or_none()
    return None if row is None else Named(row.fingerprint, row.resource)


def remember_key(connection: Connection, tenant_id: UUID, key: str, named: Named) -> None:
    """Let the key stand for the resource from now on. The caller holds its lock."""
    values = {"tenant_id": tenant_id, "key": key, "fingerprint": named.fingerprint, "resource": named.resource}
    connection.execute(_REMEMBER_KEY, values)


def lock_alike(connection: Connection, tenant_id: UUID, request: Counted) -> None:
    """Put originals and retries of one fingerprint in order until commit; originals pass each other."""
    name = f"kinema submission {tenant_id} {request.key_id} {request.fingerprint.hex()}"
    connection.execute(_LOCK if request.count else _LOCK_SHARED, {"name": name})


def adopt(connection: Connection, tenant_id: UUID, request: Counted, new: str | None = None) -> str | None:
    """The resource that an earlier try of this request made, noted as answered to this one too. None: make it.

    With `new`, what is to be made is remembered at once, as `remember` does.

    A retry asks for what was made a short time ago and nobody knows of. An original asks for what only retries were
    answered with, and that was made after it came: its own retry was faster. The lock is held.
    """
    span = RETRY_TIME if request.count else request.age
    values = {"of": tenant_id, "key": request.key_id, "print": request.fingerprint, "count": request.count}
    values |= {"before": request.count - 1, "span": span}
    if new is None:
        return connection.scalar(_ADOPT, values)
    return connection.scalar(_ADOPT_OR_REMEMBER, {**values, "new": new})


def remember(connection: Connection, tenant_id: UUID, request: Counted, resource: str) -> None:
    """Note what was made for the request. The lock is held."""
    row = {"tenant_id": tenant_id, "key_id": request.key_id, "fingerprint": request.fingerprint}
    connection.execute(_INSERT, {**row, "resource": resource, "counts": [request.count]})


def retrieved(connection: Connection, tenant_id: UUID, resource: str) -> None:
    """Somebody asked for it by its id: no retry may be answered with it any more."""
    connection.execute(
        sa.update(submissions)
        .where(
            submissions.c.tenant_id == tenant_id,
            submissions.c.resource == resource,
            submissions.c.retrieved_at.is_(None),
        )
        .values(retrieved_at=NOW)
    )


def forget(connection: Connection, tenant_id: UUID, resource: str) -> None:
    """It is gone: no retry may be answered with it. Its key still says that it was made."""
    connection.execute(
        sa.delete(submissions).where(submissions.c.tenant_id == tenant_id, submissions.c.resource == resource)
    )


def drop_old_for_any_tenant(connection: Connection, limit: int) -> None:
    """Forget up to `limit` keys and as many submissions that are past their time."""
    keys = sa.tuple_(idempotency_keys.c.tenant_id, idempotency_keys.c.key)
    over = sa.select(idempotency_keys.c.tenant_id, idempotency_keys.c.key).where(idempotency_keys.c.expires_at < TICK)
    connection.execute(sa.delete(idempotency_keys).where(keys.in_(over.limit(limit).with_for_update(skip_locked=True))))
    rows = sa.tuple_(submissions.c.tenant_id, submissions.c.resource)
    old = sa.select(submissions.c.tenant_id, submissions.c.resource).where(
        submissions.c.created_at < TICK - SUBMISSION_TIME
    )
    connection.execute(sa.delete(submissions).where(rows.in_(old.limit(limit).with_for_update(skip_locked=True))))


# Built once, because every create runs some of them.


def _naming() -> sa.Insert:
    row = insert(idempotency_keys).values(created_at=NOW, expires_at=NOW + KEY_TIME)
    # What may be there is past its time and not swept yet.
    taken = ("fingerprint", "resource", "created_at", "expires_at")
    return row.on_conflict_do_update(
        index_elements=["tenant_id", "key"], set_={name: row.excluded[name] for name in taken}
    )


def _adoption() -> sa.Update:
    count = sa.bindparam("count", type_=sa.SmallInteger)
    before = sa.bindparam("before", type_=sa.SmallInteger)
    counts, tenant = submissions.c.counts, sa.bindparam("of", type_=sa.Uuid)
    found = (
        sa.select(submissions.c.resource)
        .where(
            submissions.c.tenant_id == tenant,
            submissions.c.key_id == sa.bindparam("key", type_=sa.Uuid),
            submissions.c.fingerprint == sa.bindparam("print", type_=sa.LargeBinary),
            submissions.c.retrieved_at.is_(None),
            count != sa.all_(counts),  # an original finds only what retries were answered with
            submissions.c.created_at > NOW - sa.bindparam("span", type_=sa.Interval),
        )
        # Of several, the one that this client most likely made: its requests come in order, one at a time.
        .order_by(sa.not_(count > sa.all_(counts)), before != sa.all_(counts), submissions.c.created_at.desc())
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        sa.update(submissions)
        .where(submissions.c.tenant_id == tenant, submissions.c.resource == found)
        .values(counts=sa.func.array_append(counts, count))
        .returning(submissions.c.resource)
    )


def _adoption_or_memory() -> sa.Select[Any]:
    adopted = _adoption().cte("adopted")
    row = {
        "tenant_id": sa.bindparam("of", type_=sa.Uuid),
        "key_id": sa.bindparam("key", type_=sa.Uuid),
        "fingerprint": sa.bindparam("print", type_=sa.LargeBinary),
        "resource": sa.bindparam("new", type_=sa.Text),
        "counts": sa.func.array_append(
            sa.text("CAST('{}' AS smallint[])"), sa.bindparam("count", type_=sa.SmallInteger)
        ),
    }
    unless_adopted = sa.select(*row.values()).where(~sa.exists().select_from(adopted))
    remembered = sa.insert(submissions).from_select([*row], unless_adopted).cte("remembered")
    return sa.select(adopted.c.resource).add_cte(remembered)


_FIND_KEY = sa.select(idempotency_keys.c.fingerprint, idempotency_keys.c.resource).where(
    idempotency_keys.c.tenant_id == sa.bindparam("of"),
    idempotency_keys.c.key == sa.bindparam("name"),
    idempotency_keys.c.expires_at > NOW,
)
_REMEMBER_KEY = _naming()
_ADOPT = _adoption()
_ADOPT_OR_REMEMBER = _adoption_or_memory()
_INSERT = sa.insert(submissions)
_TRY_LOCK = sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_LOCK_SHARED = sa.text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")
