"""The one guard: a write finds its video in the state and at the fence that it expects, or it finds nothing.

So does the attempt that it ends: the one of that fence, while it is open.

Everything that a worker or a client changes after a create goes through here. Take it away, and a worker that slept
through its lease finishes somebody else's attempt: `tests/chaos` shows it.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from domain.lifecycle import State
from storage.tables import attempts, videos


def expected(tenant_id: UUID, video_id: UUID, state: State, fence: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Conditions of a guarded UPDATE or SELECT. Zero rows mean: lost; stop, discard."""
    return (
        videos.c.id == video_id,
        videos.c.tenant_id == tenant_id,
        videos.c.state == state,
        videos.c.fence == fence,
    )


def attempt(video_id: UUID, fence: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Conditions for the open attempt of a claim. After `expected` found its row there is exactly one."""
    return attempts.c.video_id == video_id, attempts.c.fence == fence, attempts.c.ended_at.is_(None)
