"""The end of a video's data: by DELETE, or when its retention is over."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

from domain import ids
from storage import announcements, feedback, idempotency, outputs, videos


def forget(connection: Connection, tenant_id: UUID, video_id: UUID) -> bool:
    """Hide the video and erase all that anybody wrote or uploaded for it. False if it was hidden already.

    What stays: id, model, sizes and numbers, lineage, events, ledger, ratings. Files are left to the sweeper.
    """
    outputs.forget(connection, tenant_id, video_id)
    feedback.forget(connection, tenant_id, video_id)
    announcements.forget(connection, tenant_id, video_id)
    idempotency.forget(connection, tenant_id, ids.public(ids.Kind.VIDEO, video_id))
    return videos.mark_deleted(connection, tenant_id, video_id)
