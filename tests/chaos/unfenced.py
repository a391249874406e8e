"""Kinema's workers with their one guard replaced: whoever once held a video may write to it for ever.

Only a test runs this, to show that the guard is what keeps results from being doubled. Spawned children import the
module that was started, so that they are changed too.
"""

from __future__ import annotations

import sys
from uuid import UUID

import sqlalchemy as sa

from cli import main
from domain.lifecycle import State
from storage import guard
from storage.tables import attempts, videos


def expected_at_any_fence(
    tenant_id: UUID, video_id: UUID, state: State, _fence: int
) -> tuple[sa.ColumnElement[bool], ...]:
    """The video in its state, whoever claimed it last."""
    return videos.c.id == video_id, videos.c.tenant_id == tenant_id, videos.c.state == state


def attempt_of_anybody(video_id: UUID, _fence: int) -> tuple[sa.ColumnElement[bool], ...]:
    """The open attempt, whosever it is."""
    return attempts.c.video_id == video_id, attempts.c.ended_at.is_(None)


guard.expected = expected_at_any_fence
guard.attempt = attempt_of_anybody

if __name__ == "__main__":
    sys.exit(main.main())
