"""What time alone brings about: queues that were too long, results whose retention is over."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.errors import VIDEO_ERRORS
from domain.lifecycle import TRANSITIONS, State
from storage.forgetting import forget
from storage.lifecycle import Move, move
from storage.tables import LIVING, TICK, videos

_MAY_EXPIRE = [state for state in State if State.EXPIRED in TRANSITIONS[state]]


def end_overdue_for_any_tenant(connection: Connection, limit: int) -> Sequence[UUID]:
    """Expire up to `limit` videos that were still waiting at their deadline."""
    overdue = connection.execute(
        sa.select(videos.c.id, videos.c.tenant_id, videos.c.state, videos.c.fence)
        .where(sa.text(LIVING), videos.c.queue_deadline < TICK, videos.c.state.in_(_MAY_EXPIRE))
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in sorted(overdue, key=lambda row: row.tenant_id):  # quota rows in one order for everybody
        change = Move(
            row.tenant_id,
            row.id,
            State(row.state),
            State.EXPIRED,
            row.fence,
            error_code="queue_timeout",
            error_message=VIDEO_ERRORS["queue_timeout"],
        )
        move(connection, change)
    return [row.id for row in overdue]


def forget_expired_for_any_tenant(connection: Connection, limit: int) -> Sequence[UUID]:
    """Forget up to `limit` videos whose retention is over, however they ended."""
    over = connection.execute(
        sa.select(videos.c.id, videos.c.tenant_id)
        .where(videos.c.deleted_at.is_(None), videos.c.expires_at < TICK)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in over:
        forget(connection, row.tenant_id, row.id)
    return [row.id for row in over]
