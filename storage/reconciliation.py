"""Rows against objects, as after a restore: what the store has and nobody knows, what rows name and is gone.

The only place that lists the bucket. It may run while the service works: a key is written down before its bytes are
put, so whoever lists first and looks for rows afterwards takes no new object for an unknown one. That holds as long as
no key is given out twice, also after the database went back in time: RAISE_FENCES sees to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.errors import VIDEO_ERRORS
from domain.lifecycle import State
from storage.database import Database
from storage.objects import ObjectStore
from storage.tables import LIVING, characters, files, objects, outputs, videos

PREFIXES = ("drafts/", "outputs/", "inputs/", "files/", "characters/")  # everything that Kinema puts
LOST = "content_lost"
PAGE = 500
ASKED_AT_ONCE = 8
# For a database that was just put back, in one transaction. Keys carry fences; the time makes each restore differ.
RAISE_FENCES = (
    "UPDATE attempts SET fence = fence + (1000 * extract(epoch FROM now()))::bigint WHERE ended_at IS NULL",
    f"UPDATE videos SET fence = fence + (1000 * extract(epoch FROM now()))::bigint WHERE {LIVING}",  # noqa: S608 - our own text
)
What = Literal["video", "file", "character"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that promises objects. `marked`: it says already that they are lost."""

    what: What
    tenant_id: UUID
    id: UUID
    keys: tuple[str, ...]
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Objects that no row names, and how many were looked at."""

    keys: tuple[str, ...]
    seen: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A row whose promise does not fit the store: `lost` and not marked, or marked and there again."""

    kept: Kept
    lost: bool


def unknown(database: Database, store: ObjectStore) -> Unknown:
    """Look through the whole bucket. Raises Unavailable."""
    found: list[str] = []
    seen = 0
    for prefix in PREFIXES:
        for page in store.pages(prefix):
            seen += len(page)
            with database.transaction_for_any_tenant() as connection:
                found += unknown_among_for_any_tenant(connection, page)
    return Unknown(tuple(found), seen)


def broken(database: Database, store: ObjectStore) -> Iterator[Broken]:
    """Look at everything that can be downloaded. Raises Unavailable."""
    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        for kept in _all_kept(database):
            lost = not all(threads.map(store.has, kept.keys))
            if lost != kept.marked:
                yield Broken(kept, lost)


def mark(connection: Connection, tenant_id: UUID, video_id: UUID, *, lost: bool) -> bool:
    """Let a completed video say that its files are lost, or no longer. False if it is gone or says so already."""
    before, after = (None, LOST) if lost else (LOST, None)
    marked = (
        sa.update(videos)
        .where(
            videos.c.tenant_id == tenant_id,
            videos.c.id == video_id,
            videos.c.state == State.COMPLETED,
            videos.c.deleted_at.is_(None),
            videos.c.error_code.is_not_distinct_from(before),
        )
        .values(error_code=after, error_message=None if after is None else VIDEO_ERRORS[after])
    )
    return connection.execute(marked).rowcount == 1


def unknown_among_for_any_tenant(connection: Connection, keys: Sequence[str]) -> Sequence[str]:
    """Those of the keys that no row names."""
    known = set(connection.scalars(sa.select(objects.c.key).where(objects.c.key.in_(keys))))
    return [key for key in keys if key not in known]


def kept_for_any_tenant(connection: Connection, what: What, after: UUID | None) -> Sequence[Kept]:
    """A page of the rows that promise objects, by id."""
    if what == "video":
        return _videos(connection, after)
    table = files if what == "file" else characters
    query = sa.select(table.c.tenant_id, table.c.id, table.c.object_key).order_by(table.c.id).limit(PAGE)
    if after is not None:
        query = query.where(table.c.id > after)
    return [Kept(what, row[0], row[1], (row[2],)) for row in connection.execute(query)]


def _videos(connection: Connection, after: UUID | None) -> Sequence[Kept]:
    keys = sa.func.array_agg(outputs.c.object_key)
    marked = sa.func.coalesce(videos.c.error_code == LOST, sa.false())
    query = (
        sa.select(videos.c.tenant_id, videos.c.id, keys, marked)
        .join(outputs, outputs.c.video_id == videos.c.id)
        .group_by(videos.c.id)
        .order_by(videos.c.id)
        .limit(PAGE)
    )
    if after is not None:
        query = query.where(videos.c.id > after)
    return [Kept("video", row[0], row[1], tuple(row[2]), row[3]) for row in connection.execute(query)]


def _all_kept(database: Database) -> Iterator[Kept]:
    """No transaction is open while the store is asked."""
    kinds: tuple[What, ...] = ("video", "file", "character")
    for what in kinds:
        after: UUID | None = None
        while True:
            with database.transaction_for_any_tenant() as connection:
                page = kept_for_any_tenant(connection, what, after)
            yield from page
            if len(page) < PAGE:
                break
            after = page[-1].id
