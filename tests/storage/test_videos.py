from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from storage import videos
from tests.fixtures.videos import World


def ahead(world: World, tenant: UUID, video_id: UUID, limit: int = 100) -> int:
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
        assert video is not None
        return videos.ahead(connection, tenant, video, limit)


def test_ones_own_earlier_and_more_urgent_videos_go_first(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    first = world.queued(mine)
    world.queued(theirs)
    second = world.create(mine)  # not screened yet, but on its way to the same renderers
    third = world.create(mine)
    urgent = world.create(mine, priority=1)
    assert [ahead(world, mine, each) for each in (urgent, first, second, third)] == [0, 1, 2, 3]
    assert ahead(world, mine, third, limit=2) == 2


def test_a_rank_is_counted_along_the_index_of_claimable_videos(world: World) -> None:
    tenant = world.tenant()
    last = [world.create(tenant) for _ in range(20)][-1]
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, last)
        assert video is not None
        plans: list[str] = []

        def explain(conn: sa.Connection, clause: object, *_: object) -> None:
            if not plans and "count" in str(clause):
                plans.append("")
                text = clause.compile(conn, compile_kwargs={"literal_binds": True})
                plans[0] = "\n".join(conn.scalars(sa.text(f"EXPLAIN {text}".replace(":", "\\:"))))

        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        sa.event.listen(connection, "before_execute", explain)
        assert videos.ahead(connection, tenant, video, 100) == 19
    assert "videos_claimable" in plans[0], plans[0]
