"""What the dispatcher looks for again and again, it finds by an index, however much there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from domain.webhooks import EventType
from storage import announcements, batches, disuse, files, housekeeping, idempotency, outputs
from storage.database import Database
from tests.fixtures.videos import World

DUTIES: dict[str, tuple[Callable[[sa.Connection], Any], int]] = {
    "videos past their deadline": (lambda to: housekeeping.end_overdue_for_any_tenant(to, 100), 1),
    # On an empty table another index is as good for this one.
    "videos past their retention": (lambda to: housekeeping.forget_expired_for_any_tenant(to, 100), 0),
    "batches past their time": (lambda to: batches.forget_for_any_tenant(to, 100), 1),
    "endpoints past their time": (lambda to: disuse.forget_for_any_tenant(to, 100), 1),
    "files past their time": (lambda to: files.forget_expired_for_any_tenant(to, 100), 1),
    "objects to delete": (lambda to: outputs.take_doomed_for_any_tenant(to, 60.0, 60.0, 100), 1),
    "requests to forget": (lambda to: idempotency.drop_old_for_any_tenant(to, 100), 2),
}


@pytest.mark.parametrize("duty", DUTIES)
def test_what_is_due_is_found_by_its_time_in_an_index(duty: str, database: Database) -> None:
    perform, looks = DUTIES[duty]
    with database.transaction_for_any_tenant() as connection:
        # Tables of tests are small: leave only ways that an index has to open.
        for way in ("seqscan", "indexscan", "indexonlyscan"):
            connection.execute(sa.text(f"SET LOCAL enable_{way} = off"))
        ran: list[tuple[str, Any]] = []

        def note(*call: Any) -> None:
            ran.append((call[2], call[3]))

        sa.event.listen(connection, "before_cursor_execute", note)
        perform(connection)
        sa.event.remove(connection, "before_cursor_execute", note)
        plans = ["\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars()) for sql, values in ran]
    timed = [line.strip() for plan in plans for line in plan.splitlines() if "_timestamp()" in line]
    assert len([line for line in timed if line.startswith("Index Cond: ")]) == looks, plans
    assert not any("clock_timestamp()" in line for line in timed), plans


def test_an_event_asks_registered_endpoints_alone(world: World) -> None:
    """Origins of requests and deleted endpoints are many more, and no event reads them."""
    tenant = world.tenant()
    crowd = (
        "INSERT INTO webhook_endpoints (id, tenant_id, name, url, event_types, kind)"
        " SELECT gen_random_uuid(), :tenant, '', 'https://e' || n, '{}', 'request' FROM generate_series(1, 3000) n"
    )
    with world.database.transaction(tenant) as connection:
        connection.execute(sa.text(crowd), {"tenant": tenant})
        query = announcements.subscribed(tenant, EventType.VIDEO_COMPLETED)
        compiled = query.compile(dialect=connection.dialect)
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params).scalars())
    assert "webhook_endpoints_living" in plan, plan
