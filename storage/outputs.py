"""Objects and outputs as rows: a key is written down before its bytes are put, and readers follow outputs only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from storage.schedule import Lease, held_by
from storage.tables import NOW, TICK, objects, outputs, videos

TAKEN_SECONDS = 30  # that a sweeper has for what it took


class Kind(StrEnum):
    """What can be downloaded of a video; the value is the `variant` of the API."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SPRITESHEET = "spritesheet"


CONTENT_TYPES = {Kind.VIDEO: "video/mp4", Kind.THUMBNAIL: "image/webp", Kind.SPRITESHEET: "image/jpeg"}
SUFFIXES = {Kind.VIDEO: "mp4", Kind.THUMBNAIL: "webp", Kind.SPRITESHEET: "jpg"}


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a finished video."""

    kind: Kind
    object_key: str
    content_type: str
    sha256: bytes
    bytes: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """An object to delete; `again`: it was deleted before, long enough ago."""

    key: str
    again: bool


def key(lease: Lease, kind: Kind) -> str:
    """Where a publisher puts a result."""
    return _key("outputs", lease, lease.fence, kind)


def drafts_of(lease: Lease, fence: int) -> dict[Kind, str]:
    """The keys that the renderer with this fence wrote."""
    return {kind: _key("drafts", lease, fence, kind) for kind in Kind}


def _key(prefix: Literal["drafts", "outputs"], lease: Lease, fence: int, kind: Kind) -> str:
    """Drafts and results lie apart, and every attempt has a place of its own."""
    return f"{prefix}/{lease.tenant_id.hex}/{lease.video_id.hex}/{fence}/{kind}.{SUFFIXES[kind]}"


def register(connection: Connection, lease: Lease, purpose: Literal["draft", "output"], keys: Sequence[str]) -> bool:
    """Write keys down before their bytes are put. False, and nothing written, if the lease is lost."""
    held = connection.execute(
        sa.select(videos.c.id).where(*held_by(lease)).with_for_update(key_share=True)
    ).one_or_none()
    if held is None:
        return False
    of_video = {"tenant_id": lease.tenant_id, "video_id": lease.video_id, "fence": lease.fence, "purpose": purpose}
    # Repeated after a commit whose answer was lost, it changes nothing.
    rows = insert(objects).on_conflict_do_nothing(index_elements=["key"])
    connection.execute(rows, [{"key": name, **of_video} for name in keys])
    return True


def input_key(tenant_id: UUID, video_id: UUID, name: str) -> str:
    """Where an input of a video lies; `name` tells it from the others."""
    return f"inputs/{tenant_id.hex}/{video_id.hex}/{name}"


def register_input(connection: Connection, tenant_id: UUID, video_id: UUID, name: str) -> None:
    """Write an upload's key down before its bytes are put. It is swept unless its video adopts it."""
    connection.execute(
        sa.insert(objects).values(
            key=name, tenant_id=tenant_id, video_id=video_id, purpose="input", doomed_at=NOW + timedelta(hours=1)
        )
    )


def adopt_input(connection: Connection, tenant_id: UUID, video_id: UUID) -> None:
    """The video exists now: keep its inputs as long as its result, or until it fails."""
    connection.execute(
        sa.update(objects)
        .where(objects.c.tenant_id == tenant_id, objects.c.video_id == video_id, objects.c.purpose == "input")
        .values(doomed_at=None)
    )


def inputs(connection: Connection, tenant_id: UUID, video_id: UUID) -> frozenset[str]:
    """Keys of the video's inputs that are not given to the sweeper."""
    kept = sa.select(objects.c.key).where(
        objects.c.tenant_id == tenant_id,
        objects.c.video_id == video_id,
        objects.c.purpose == "input",
        objects.c.doomed_at.is_(None),
    )
    return frozenset(connection.scalars(kept))


def abandon_inputs(connection: Connection, tenant_id: UUID, video_id: UUID) -> None:
    """The video will never exist: leave its inputs to the sweeper at once."""
    connection.execute(
        sa.update(objects)
        .where(objects.c.tenant_id == tenant_id, objects.c.video_id == video_id, objects.c.purpose == "input")
        .values(doomed_at=NOW)
    )


def publish(connection: Connection, tenant_id: UUID, video_id: UUID, files: Sequence[Output]) -> None:
    """Make the results visible; part of the transaction that completes the video."""
    of_video = {"tenant_id": tenant_id, "video_id": video_id}
    rows = [
        {
            **of_video,
            "kind": file.kind,
            "object_key": file.object_key,
            "content_type": file.content_type,
            "sha256": file.sha256,
            "bytes": file.bytes,
        }
        for file in files
    ]
    connection.execute(sa.insert(outputs), rows)


def find(connection: Connection, tenant_id: UUID, video_id: UUID) -> Mapping[Kind, Output]:
    """The files of a finished video; empty for any other."""
    rows = connection.execute(
        sa.select(outputs).where(outputs.c.tenant_id == tenant_id, outputs.c.video_id == video_id)
    )
    found = (Output(Kind(row.kind), row.object_key, row.content_type, row.sha256, row.bytes) for row in rows)
    return {output.kind: output for output in found}


def forget(connection: Connection, tenant_id: UUID, video_id: UUID) -> None:
    """Take the results out of sight and leave their objects to the sweeper."""
    mine = {"tenant_id": tenant_id, "video_id": video_id}
    connection.execute(sa.delete(outputs).filter_by(**mine))
    connection.execute(sa.update(objects).filter_by(**mine).where(objects.c.doomed_at.is_(None)).values(doomed_at=NOW))


def take_doomed_for_any_tenant(
    connection: Connection, grace_seconds: float, keep_seconds: float, limit: int
) -> Sequence[Doomed]:
    """Keys whose time is up; other sweepers leave them alone for TAKEN_SECONDS.

    Two that delete the same object do no harm, so the time is short: a sweeper that dies delays little.
    """
    overdue = TICK - timedelta(seconds=grace_seconds)
    due = (
        sa.select(objects.c.key)
        .where(objects.c.doomed_at.is_not(None), objects.c.doomed_at < overdue)
        .order_by(objects.c.doomed_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    again = sa.func.coalesce(objects.c.swept_at <= NOW - timedelta(seconds=keep_seconds), sa.false())
    taken = sa.update(objects).where(objects.c.key.in_(due)).values(doomed_at=NOW + timedelta(seconds=TAKEN_SECONDS))
    return [Doomed(*row) for row in connection.execute(taken.returning(objects.c.key, again))]


def swept_for_any_tenant(connection: Connection, doomed: Sequence[Doomed], keep_seconds: float) -> None:
    """Their bytes are deleted. Only a second delete, so much later, ends a row: a put may land after the first.

    Which of the two it was is what `take_doomed_for_any_tenant` said: a sweeper that froze in between decides nothing.
    """
    first = [each.key for each in doomed if not each.again]
    swept = sa.func.coalesce(objects.c.swept_at, NOW)
    due = swept + timedelta(seconds=keep_seconds)
    connection.execute(sa.update(objects).where(objects.c.key.in_(first)).values(swept_at=swept, doomed_at=due))
    last = [each.key for each in doomed if each.again]
    connection.execute(sa.delete(objects).where(objects.c.key.in_(last)))
