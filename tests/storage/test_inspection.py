from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from domain.ids import new_id
from domain.lifecycle import Stage, State
from storage import inspection
from storage.inspection import Wanted
from tests.fixtures.videos import World


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(), "videos_pkey"),
        (Wanted(state=State.FAILED), "videos_without_result"),
        (Wanted(state=State.BLOCKED, error="moderation_blocked"), "videos_by_error"),
    ],
)
def test_a_page_is_read_off_an_index_and_nothing_is_sorted(world: World, wanted: Wanted, index: str) -> None:
    tenant = world.tenant()
    for _ in range(20):
        world.create(tenant)
    query = sa.select(inspection.videos.c.id).where(*inspection._conditions(wanted), inspection.videos.c.id < new_id())
    page = query.order_by(inspection.videos.c.id.desc()).limit(21)
    text = str(page.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        connection.execute(sa.text("SET LOCAL enable_bitmapscan = off"))
        plan = "\n".join(connection.scalars(sa.text(f"EXPLAIN {text}")))
    assert f"Index Scan Backward using {index}" in plan or f"Index Only Scan Backward using {index}" in plan, plan
    assert "Sort" not in plan


def test_a_video_is_shown_with_the_attempt_that_holds_it(world: World) -> None:
    tenant = world.tenant()
    video_id = world.create(tenant)
    lease = world.must_claim(Stage.SCREEN, worker="host:7")
    with world.database.transaction_for_any_tenant() as connection:
        found = inspection.find_for_any_tenant(connection, video_id)
        missing = inspection.find_for_any_tenant(connection, new_id())
    assert found is not None
    assert (found.video.state, found.worker, found.video.fence) == (State.SCREENING, "host:7", lease.fence)
    assert missing is None
