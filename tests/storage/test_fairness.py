"""200 real claims on Postgres under the same measures as the rules: costs are virtual, claims and releases are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from domain.lifecycle import Stage, State
from storage.schedule import Lease
from storage.tables import attempts, tenant_sched, videos
from tests.fixtures.fairness import BACKLOG, BLIND_ESTIMATE, FIRST_CLAIMS, SLOTS, SMALL, Farm, entitled, jain
from tests.fixtures.videos import QUEUES, World

CLAIMS = 200


@dataclass(frozen=True)
class Sql:
    """`storage.schedule`, told afterwards that each rendering took its virtual cost."""

    world: World
    names: dict[UUID, str]
    caps: Mapping[str, int]

    def claim(self) -> tuple[str, object] | None:
        lease = self.world.claim(Stage.RENDER)
        if lease is None:
            return None
        name = self.names[lease.tenant_id]
        with self.world.database.transaction_for_any_tenant() as connection:
            mine = sa.select(tenant_sched.c.running).filter_by(queue=lease.queue, tenant_id=lease.tenant_id)
            assert connection.scalar(mine) <= self.caps[name]
        return name, lease

    def release(self, handle: object, cost: float) -> None:
        assert isinstance(handle, Lease)
        with self.world.database.transaction_for_any_tenant() as connection:
            begun = sa.func.clock_timestamp() - sa.func.make_interval(0, 0, 0, 0, 0, 0, cost)
            mine = attempts.c.video_id == handle.video_id, attempts.c.fence == handle.fence
            connection.execute(sa.update(attempts).where(*mine).values(started_at=begun))
        assert self.world.move(handle, State.RENDERED)

    def waiting(self, tenant: str) -> int:
        with self.world.database.transaction_for_any_tenant() as connection:
            mine = [identity for identity, name in self.names.items() if name == tenant]
            query = sa.select(sa.func.count()).where(videos.c.tenant_id.in_(mine), videos.c.state == State.QUEUED)
            return connection.scalar(query) or 0


def farm(world: World, owner_url: str, backlog: Mapping[str, int], weights: Mapping[str, float]) -> Farm:
    caps = dict.fromkeys(backlog, SLOTS)
    tenants = {name: world.tenant(name, weight=weights.get(name, 1.0), render_cap=caps[name]) for name in backlog}
    enqueue(owner_url, {tenants[name]: videos for name, videos in backlog.items()})
    return Farm(Sql(world, {identity: name for name, identity in tenants.items()}, caps), 1, caps)


def enqueue(owner_url: str, backlog: Mapping[UUID, int]) -> None:
    """Queued videos in bulk, past the trigger that wants every video to begin as received."""
    engine = sa.create_engine(owner_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE videos DISABLE TRIGGER USER"))
        for tenant, count in backlog.items():
            values = {"tenant": tenant, "count": count, "queue": QUEUES[Stage.RENDER]}
            connection.execute(_QUEUED, values | {"estimate": int(BLIND_ESTIMATE * 1000)})
        connection.execute(sa.text("ALTER TABLE videos ENABLE TRIGGER USER"))
    engine.dispose()


_QUEUED = sa.text("""
INSERT INTO videos (id, tenant_id, model, state, queue, pool, request, plan, price_micros, estimate_ms,
                    queue_deadline, event_seq)
SELECT gen_random_uuid(), :tenant, 'm', 'queued', :queue, :queue, '{}', '{}', 0, :estimate,
       clock_timestamp() + interval '1 day', 1
FROM generate_series(1, :count)""")


def test_a_whale_does_not_keep_small_tenants_waiting(world: World, owner_url: str) -> None:
    run = farm(world, owner_url, BACKLOG, {})
    contended: dict[str, float] = {}
    for _ in range(CLAIMS):
        assert run.step()
        if not contended and not any(run.scheduler.waiting(tenant) for tenant in SMALL):
            contended = dict(run.seconds)
    firsts = run.first_claims()
    index = jain(contended, entitled(contended, set(SMALL)))
    print(f"the last small tenant begins at claim {max(firsts[tenant] for tenant in SMALL)}, Jain index {index:.3f}")
    assert max(firsts[tenant] for tenant in SMALL) <= FIRST_CLAIMS
    assert index >= 0.95


def test_a_weight_of_three_gets_three_times_the_gpu_seconds(world: World, owner_url: str) -> None:
    run = farm(world, owner_url, {"heavy": 300, "light": 300}, {"heavy": 3.0})
    for _ in range(CLAIMS):
        assert run.step()
    ratio = run.seconds["heavy"] / run.seconds["light"]
    print(f"3:1 weights share {ratio:.2f} after {CLAIMS} claims")
    assert 2.7 <= ratio <= 3.3
