"""What moderation decided, and by which policy and scores."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.ids import new_id
from storage.tables import verdicts


def record(
    connection: Connection,
    tenant_id: UUID,
    video_id: UUID,
    *,
    subject: Literal["prompt", "input", "output"],
    decision: str,
    policy: str,
    model: str,
    scores: dict[str, float],
) -> None:
    """One decision; rows are never changed."""
    connection.execute(
        sa.insert(verdicts).values(
            id=new_id(),
            tenant_id=tenant_id,
            video_id=video_id,
            subject=subject,
            decision=decision,
            policy=policy,
            model=model,
            scores=scores,
        )
    )


def allowed_by_person(connection: Connection, tenant_id: UUID, video_id: UUID) -> bool:
    """Whether somebody saw the result and let it pass: nobody need be asked about the same drafts again."""
    mine = sa.and_(verdicts.c.tenant_id == tenant_id, verdicts.c.video_id == video_id)
    seen = sa.and_(verdicts.c.subject == "output", verdicts.c.policy == "person", verdicts.c.decision == "allow")
    return connection.scalar(sa.select(sa.literal(1)).where(mine, seen).limit(1)) is not None
