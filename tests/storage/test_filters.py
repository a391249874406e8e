"""What administrators look for among many rows is found by an index, not by walking all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from domain.administration import Actor
from storage import audit, inspection
from tests.fixtures.videos import World

MANY = 20_000
LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@pytest.fixture
def crowded(world: World, owner_url: str) -> World:
    """So many videos, of a common model and error, and so many entries of the audit log."""
    world.create(world.tenant())
    own = {
        "id": "gen_random_uuid()",
        "model": "'often'",
        "plan": """jsonb_set(v.plan, '{model}', '"often"')""",
        "error_code": "'often'",
    }
    names = [column.name for column in inspection.videos.c]
    values = [own.get(name, f"v.{name}") for name in names]
    crowd = (
        f"INSERT INTO videos ({', '.join(names)}) SELECT {', '.join(values)} FROM videos v, generate_series(1, :many)"  # noqa: S608 - our own columns
    )
    log = (
        "INSERT INTO audit_log (id, actor, action, target)"
        " SELECT gen_random_uuid(), 'often', 'often', 't' || n FROM generate_series(1, :many) n"
    )
    with world.database.transaction_for_any_tenant() as connection:
        for statement in (crowd, log):
            connection.execute(sa.text(statement), {"many": MANY})
        audit.record_for_any_tenant(connection, Actor("rare", None), "rare", "thing")
    owner = sa.create_engine(owner_url)
    with owner.begin() as connection:
        connection.execute(sa.text("ANALYZE videos, audit_log"))
    owner.dispose()
    return world


def explain(world: World, look: Callable[[sa.Connection], Any]) -> tuple[Any, str]:
    """What the look finds, and the plan of its statement as it was run."""
    ran: list[tuple[str, Any]] = []
    with world.database.transaction_for_any_tenant() as connection:
        note = lambda *call: ran.append((call[2], call[3]))  # noqa: E731 - removed again below
        sa.event.listen(connection, "before_cursor_execute", note)
        found = look(connection)
        sa.event.remove(connection, "before_cursor_execute", note)
        sql, values = ran[0]
        return found, "\n".join(connection.exec_driver_sql(f"EXPLAIN ANALYZE {sql}", values).scalars())


def most_rows(plan: str) -> int:
    """That a step of the plan read, kept or threw away."""
    read = re.findall(r"actual (?:time=\S+ )?rows=(\d+)", plan) + re.findall(r"Removed by Filter: (\d+)", plan)
    return max(int(number) for number in read)


def test_what_is_rare_is_found_without_a_walk(crowded: World) -> None:
    def videos(**wanted: Any) -> Callable[[sa.Connection], Any]:
        return lambda to: inspection.page_for_any_tenant(to, inspection.Wanted(**wanted), after=None, limit=20)

    def entries(**wanted: Any) -> Callable[[sa.Connection], Any]:
        return lambda to: audit.page_for_any_tenant(to, audit.Wanted(**wanted), after=None, limit=20)

    looks = {
        "asked model": (videos(model="testcard"), 1),
        "unknown model": (videos(model="never"), 0),
        "common model": (videos(model="often"), 20),
        "unknown error": (videos(error="never"), 0),
        "common error": (videos(error="often"), 20),
        "actor": (entries(actor="rare"), 1),
        "action": (entries(action="rare"), 1),
        "unknown action": (entries(action="never"), 0),
        "actor who does much": (entries(actor="often"), 20),
    }
    for name, (look, count) in looks.items():
        (found, more), plan = explain(crowded, look)
        assert (len(found), more) == (count, count == 20), name
        assert "Seq Scan" not in plan, (name, plan)
        assert most_rows(plan) < 100, (name, plan)


def test_a_time_range_bounds_what_is_read_of_the_audit_log(crowded: World) -> None:
    wanted = audit.Wanted(until=LONG_AGO)
    (found, _), plan = explain(crowded, lambda to: audit.page_for_any_tenant(to, wanted, after=None, limit=20))
    assert found == ()
    assert "Index Cond: (id <" in plan, plan


def test_a_model_is_found_as_asked_and_as_resolved_each_once(world: World) -> None:
    tenant = world.tenant()
    named = (
        "UPDATE videos SET model = :model, plan = jsonb_set(plan, '{model}', to_jsonb(CAST(:plan AS text)))"
        " WHERE id = :id"
    )
    asked, resolved, both = (world.create(tenant) for _ in range(3))
    with world.database.transaction_for_any_tenant() as connection:
        for video, model, plan in ((asked, "a", "b"), (resolved, "b", "a"), (both, "a", "a")):
            connection.execute(sa.text(named), {"model": model, "plan": plan, "id": video})
        wanted = inspection.Wanted(model="a")
        first, more = inspection.page_for_any_tenant(connection, wanted, after=None, limit=2)
        rest, no_more = inspection.page_for_any_tenant(connection, wanted, after=first[-1].id, limit=2)
    assert [each.id for each in (*first, *rest)] == [both, resolved, asked]
    assert (more, no_more) == (True, False)
