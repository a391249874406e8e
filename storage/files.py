"""Files that tenants keep: rows here, bytes in the object store, a quota over both files and characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from domain.errors import NotFound, QuotaExceeded, Unavailable
from domain.ids import new_id
from storage.database import Database
from storage.objects import Download, ObjectStore
from storage.tables import NOW, TICK, characters, files, objects

Purpose = Literal["vision", "batch", "batch_output"]
UNADOPTED = timedelta(hours=1)  # for which uploaded bytes wait for the row that keeps them
LEAST_BYTES = 16_384  # that a file counts in the quota, so that it bounds their number too
SUFFIXES = {"image/png": "png", "video/mp4": "mp4", "application/jsonl": "jsonl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """What is known of a file before it is stored."""

    id: UUID = field(default_factory=new_id)
    purpose: Purpose
    filename: str
    content_type: str  # one of SUFFIXES
    facts: dict[str, Any] | None = None  # of a picture or clip: width, height; seconds, fps
    lives_seconds: int | None = None  # None: until it is deleted


@dataclass(frozen=True, slots=True)
class File:
    """A stored file."""

    id: UUID
    purpose: Purpose
    filename: str
    bytes: int
    content_type: str
    object_key: str
    facts: dict[str, Any] | None
    created_at: datetime
    expires_at: datetime | None


_COLUMNS = [files.c[name] for name in File.__slots__]
_ALIVE = sa.or_(files.c.expires_at.is_(None), files.c.expires_at > NOW)


def key(tenant_id: UUID, new: NewFile) -> str:
    """Where the bytes lie."""
    return f"files/{tenant_id.hex}/{new.id.hex}.{SUFFIXES[new.content_type]}"


def write(
    database: Database, store: ObjectStore, tenant_id: UUID, new: NewFile, content: bytes | Path, *, quota_bytes: int
) -> File:
    """Store a file from end to end, in two transactions around the put. Raises QuotaExceeded, Unavailable."""
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    with database.transaction(tenant_id) as connection:
        register(connection, tenant_id, key(tenant_id, new), size, quota_bytes)
    store.put(key(tenant_id, new), content, new.content_type)
    with database.transaction(tenant_id) as connection:
        return create(connection, tenant_id, new, size, quota_bytes)


def register(connection: Connection, tenant_id: UUID, object_key: str, size: int, quota_bytes: int | None) -> None:
    """Write a key down before its bytes are put; it is swept unless a row adopts it within an hour.

    Raises QuotaExceeded, so that no bytes are moved in vain; `create` and `characters.create` have the last word.
    Without a quota nothing is refused, and nothing summed.
    """
    _check_quota(connection, tenant_id, size, quota_bytes)
    connection.execute(
        sa.insert(objects).values(key=object_key, tenant_id=tenant_id, purpose="file", doomed_at=NOW + UNADOPTED)
    )


def create(connection: Connection, tenant_id: UUID, new: NewFile, size: int, quota_bytes: int | None) -> File:
    """The row of a file whose bytes are put. Raises QuotaExceeded."""
    object_key = key(tenant_id, new)
    adopt(connection, tenant_id, object_key, size, quota_bytes)
    lives = None if new.lives_seconds is None else NOW + timedelta(seconds=new.lives_seconds)
    row = {
        "id": new.id,
        "tenant_id": tenant_id,
        "purpose": new.purpose,
        "filename": new.filename,
        "bytes": size,
        "content_type": new.content_type,
        "object_key": object_key,
        "facts": new.facts,
        "expires_at": lives,
    }
    return _file(connection.execute(sa.insert(files).values(row).returning(*_COLUMNS)).one())


def adopt(connection: Connection, tenant_id: UUID, object_key: str, size: int, quota_bytes: int | None) -> None:
    """Keep the bytes for good. A tenant's uploads pass here one by one, so the quota holds. Raises QuotaExceeded."""
    if quota_bytes is not None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"files {tenant_id}", 0))))
    _check_quota(connection, tenant_id, size, quota_bytes)
    # The row of a swept object stays for a while, so its age decides: younger, no sweeper has looked at it.
    young = objects.c.created_at > NOW - UNADOPTED
    mine = (objects.c.tenant_id == tenant_id, objects.c.key == object_key, young)
    if connection.execute(sa.update(objects).where(*mine).values(doomed_at=None)).rowcount != 1:
        raise Unavailable("The upload took too long. Please try again.")


def find(connection: Connection, tenant_id: UUID, file_id: UUID) -> File | None:
    """One file of the tenant's; None if it is gone, expired or somebody else's."""
    found = sa.select(*_COLUMNS).where(files.c.tenant_id == tenant_id, files.c.id == file_id, _ALIVE)
    row = connection.execute(found).one_or_none()
    return None if row is None else _file(row)


def content(store: ObjectStore, file: File) -> Download:
    """Its bytes. Raises NotFound if they were swept meanwhile, Unavailable."""
    return store.get(file.object_key)


def page(
    connection: Connection,
    tenant_id: UUID,
    *,
    after: UUID | None = None,
    limit: int = 100,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> tuple[Sequence[File], bool]:
    """Up to `limit` files by creation, and whether there are more."""
    found = sa.select(*_COLUMNS).where(files.c.tenant_id == tenant_id, _ALIVE)
    if purpose is not None:
        found = found.where(files.c.purpose == purpose)
    if after is not None:
        found = found.where(files.c.id > after if order == "asc" else files.c.id < after)
    rows = connection.execute(
        found.order_by(files.c.id if order == "asc" else files.c.id.desc()).limit(limit + 1)
    ).all()
    return [_file(row) for row in rows[:limit]], len(rows) > limit


def remove(connection: Connection, tenant_id: UUID, file_id: UUID) -> None:
    """Forget the file and leave its bytes to the sweeper. Raises NotFound."""
    gone = connection.scalar(
        sa.delete(files)
        .where(files.c.tenant_id == tenant_id, files.c.id == file_id, _ALIVE)
        .returning(files.c.object_key)
    )
    if gone is None:
        raise NotFound("No such file.", code="file_not_found")
    _doom(connection, [gone])


def forget_expired_for_any_tenant(connection: Connection, limit: int) -> int:
    """Forget up to `limit` files whose time is over: how many."""
    over = (
        sa.select(files.c.id).where(files.c.expires_at < TICK).limit(limit).with_for_update(skip_locked=True)
    ).scalar_subquery()
    keys = connection.scalars(sa.delete(files).where(files.c.id.in_(over)).returning(files.c.object_key)).all()
    _doom(connection, keys)
    return len(keys)


def used_bytes(connection: Connection, tenant_id: UUID) -> int:
    """What the tenant's files and characters count, each LEAST_BYTES at least."""
    sums = [
        sa.select(sa.func.coalesce(sa.func.sum(sa.func.greatest(table.c.bytes, LEAST_BYTES)), 0))
        .where(table.c.tenant_id == tenant_id)
        .scalar_subquery()
        for table in (files, characters)
    ]
    return int(connection.scalar(sa.select(sums[0] + sums[1])) or 0)


def _check_quota(connection: Connection, tenant_id: UUID, size: int, quota_bytes: int | None) -> None:
    if quota_bytes is not None and used_bytes(connection, tenant_id) + max(size, LEAST_BYTES) > quota_bytes:
        raise QuotaExceeded(f"Your files may take {quota_bytes} bytes together. Delete some first.")


def _doom(connection: Connection, keys: Sequence[str]) -> None:
    connection.execute(sa.update(objects).where(objects.c.key.in_(keys)).values(doomed_at=NOW))


def _file(row: Row[Any]) -> File:
    return File(*row)
