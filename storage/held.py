"""Videos that wait for a person, and what the person decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.errors import VIDEO_ERRORS
from domain.lifecycle import State
from storage import verdicts
from storage.lifecycle import Move, move
from storage.tables import NOW, videos
from storage.videos import rendering


@dataclass(frozen=True, slots=True)
class Held:
    """One video that nobody could decide about."""

    id: UUID
    tenant_id: UUID
    prompt: str
    fence: int
    created_at: datetime


_COLUMNS = (
    videos.c.id,
    videos.c.tenant_id,
    videos.c.plan["prompt"].astext.label("prompt"),
    videos.c.fence,
    videos.c.created_at,
)


def list_for_any_tenant(connection: Connection, limit: int) -> Sequence[Held]:
    """Held videos, the oldest first."""
    query = sa.select(*_COLUMNS).where(videos.c.state == State.HELD, videos.c.queue_deadline > NOW)
    rows = connection.execute(query.order_by(videos.c.id).limit(limit)).all()
    return [Held(*row) for row in rows]


def decide_for_any_tenant(
    connection: Connection, video_id: UUID, decision: Literal["allow", "block"], person: str
) -> State | None:
    """Send a held video on to where it was going, or end it. None if it is not held (any more)."""
    query = sa.select(*_COLUMNS).where(videos.c.id == video_id, videos.c.state == State.HELD)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None:
        return None
    held = Held(*row)
    rendered = rendering(connection, held.tenant_id, held.id) is not None
    after = State.BLOCKED if decision == "block" else State.RENDERED if rendered else State.QUEUED
    blocked = after is State.BLOCKED
    move(
        connection,
        Move(
            held.tenant_id,
            held.id,
            State.HELD,
            after,
            held.fence,
            error_code="moderation_blocked" if blocked else None,
            error_message=VIDEO_ERRORS["moderation_blocked"] if blocked else None,
            data={"by": person},
        ),
    )
    verdicts.record(
        connection,
        held.tenant_id,
        held.id,
        subject="output" if rendered else "prompt",
        decision=decision,
        policy="person",
        model=person,
        scores={},
    )
    return after
