"""Messages, deliveries and endpoints of webhooks."""

from __future__ import annotations

import time
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.ids import new_id
from domain.lifecycle import State
from domain.webhooks import event_for, payload
from storage.tables import webhook_deliveries, webhook_endpoints, webhook_messages


def announce_end(connection: Connection, tenant_id: UUID, video_id: UUID, state: State) -> None:
    """Store the one message of a video's end, and a delivery for every endpoint that wants it."""
    event_type = event_for(state)
    if event_type is None:
        return
    message_id = new_id()
    body = payload(message_id, event_type, int(time.time()), video_id)
    connection.execute(
        sa.insert(webhook_messages).values(
            id=message_id, tenant_id=tenant_id, video_id=video_id, type=event_type, body=body
        )
    )
    wanted = sa.select(
        webhook_endpoints.c.tenant_id, sa.literal(message_id, sa.Uuid), webhook_endpoints.c.id, sa.literal("pending")
    ).where(
        webhook_endpoints.c.tenant_id == tenant_id,
        webhook_endpoints.c.deleted_at.is_(None),
        webhook_endpoints.c.disabled_at.is_(None),
        webhook_endpoints.c.event_types.any(event_type.value),
    )
    connection.execute(
        sa.insert(webhook_deliveries).from_select(["tenant_id", "message_id", "endpoint_id", "state"], wanted)
    )
