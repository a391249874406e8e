"""Who asked for a thing by its id: from then on, no retry of its create may be answered with it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from storage import idempotency
from storage.database import Connection

MOST_NOTED = 10_000


class Retrievals:
    """Notes the first GET of a thing. Threads share it; a lost entry costs one statement more."""

    def __init__(self) -> None:
        self._noted: set[str] = set()

    def note(self, connection: Connection, tenant_id: UUID, resource: str, created_at: datetime) -> None:
        """Once for each thing and process, and for young things only: afterwards no retry could ask for it."""
        if resource in self._noted or datetime.now(UTC) - created_at > idempotency.SUBMISSION_TIME:
            return
        if len(self._noted) >= MOST_NOTED:
            self._noted.clear()
        idempotency.retrieved(connection, tenant_id, resource)
        self._noted.add(resource)
