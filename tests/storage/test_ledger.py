from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.errors import QuotaExceeded
from domain.ledger import Kind, Meter
from domain.lifecycle import Stage, State
from domain.quotas import Period
from storage import ledger
from storage import videos as videos_of
from storage.database import Database
from storage.lifecycle import Move, move
from storage.tables import ledger as entries
from storage.tables import quotas, videos
from tests.fixtures.videos import World

PRICE = 10_000  # micros of one second of the test card


def limit(world: World, tenant: UUID, limit: int, meter: Meter = Meter.MICROS, period: Period = Period.TOTAL) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant, meter, limit, period)


def quota(world: World, tenant: UUID, meter: Meter = Meter.MICROS) -> tuple[int, int]:
    """What is held and what is used."""
    with world.database.transaction(tenant) as connection:
        found = {each.meter: each for each in ledger.limits(connection, tenant)}
    return found[meter].held, found[meter].used


def sums(world: World, tenant: UUID, kind: Kind | None = None) -> tuple[int, int, int]:
    """The ledger's micros, video_ms and gpu_ms."""
    query = sa.select(*(sa.func.coalesce(sa.func.sum(entries.c[meter.value]), 0) for meter in Meter))
    query = query.where(entries.c.kind == kind) if kind else query
    with world.database.transaction(tenant) as connection:
        micros, video_ms, gpu_ms = connection.execute(query).one()
    return int(micros), int(video_ms), int(gpu_ms)


def cancel(world: World, tenant: UUID, video_id: UUID) -> None:
    with world.database.transaction(tenant) as connection:
        video = videos_of.find(connection, tenant, video_id, lock=True)
        assert video is not None
        change = Move(tenant, video_id, video.state, State.CANCELLED, video.fence, error_code="cancelled")
        assert move(connection, change)


def test_a_create_beyond_the_limit_leaves_no_trace(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, 15_000)
    world.create(tenant)
    with pytest.raises(QuotaExceeded):
        world.create(tenant)
    with world.database.transaction(tenant) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(videos)) == 1
    assert sums(world, tenant)[0] == PRICE


@pytest.mark.parametrize("meter", list(Meter))
def test_each_meter_can_stop_a_create_and_says_so(world: World, meter: Meter) -> None:
    tenant = world.tenant()
    for other in set(Meter) - {meter}:
        limit(world, tenant, 1_000_000_000, other)
    first = world.create(tenant)
    with world.database.transaction(tenant) as connection:
        held = connection.execute(sa.select(entries).where(entries.c.video_id == first)).mappings().one()
    limit(world, tenant, 2 * held[meter], meter)
    world.create(tenant)
    with pytest.raises(QuotaExceeded, match=f"is {2 * held[meter]} {meter} in all") as refused:
        world.create(tenant)
    assert refused.value.clears_at is None


def test_a_limit_of_a_period_says_when_it_begins_anew(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, PRICE, period=Period.DAY)
    world.create(tenant)
    with pytest.raises(QuotaExceeded) as refused:
        world.create(tenant)
    with world.database.transaction(tenant) as connection:
        midnight = connection.scalar(sa.text("SELECT date_trunc('day', clock_timestamp(), 'UTC')"))
    assert refused.value.clears_at == midnight + timedelta(days=1)
    assert f"{refused.value.clears_at:%Y-%m-%dT00:00:00Z}" in refused.value.message


def test_a_create_that_no_period_can_pay_for_is_not_told_to_wait(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, PRICE - 1, period=Period.DAY)
    with pytest.raises(QuotaExceeded) as refused:
        world.create(tenant)
    assert refused.value.clears_at is None


def test_a_failed_video_gives_its_share_of_the_limit_back(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, PRICE)
    world.create(tenant)
    assert world.move(world.must_claim(Stage.SCREEN), State.BLOCKED, error_code="moderation_blocked")
    assert quota(world, tenant) == (0, 0)
    assert sums(world, tenant) == (0, 0, 0)
    world.create(tenant)


def test_a_completed_video_is_charged_its_price_its_length_and_its_real_gpu_time(world: World) -> None:
    tenant = world.tenant()
    for meter in Meter:
        limit(world, tenant, 1_000_000, meter)
    video_id = world.queued(tenant, seconds=2)
    world.advance(Stage.RENDER)
    world.advance(Stage.PUBLISH)
    with world.database.transaction(tenant) as connection:
        video = videos_of.find(connection, tenant, video_id)
    assert video is not None
    assert video.gpu_ms > 0
    used = (2 * PRICE, 2_000, video.gpu_ms)
    assert sums(world, tenant) == sums(world, tenant, Kind.CHARGE) == used
    assert [quota(world, tenant, meter) for meter in Meter] == [(0, amount) for amount in used]


def test_a_cancelled_rendering_pays_for_the_gpu_time_it_burnt_and_nothing_else(world: World) -> None:
    tenant = world.tenant()
    for meter in Meter:
        limit(world, tenant, 1_000_000, meter)
    video_id = world.queued(tenant)
    world.must_claim(Stage.RENDER)
    cancel(world, tenant, video_id)
    micros, video_ms, gpu_ms = sums(world, tenant, Kind.CHARGE)
    assert (micros, video_ms) == (0, 0)
    assert gpu_ms > 0
    assert sums(world, tenant) == (0, 0, gpu_ms)
    assert [quota(world, tenant, meter) for meter in Meter] == [(0, 0), (0, 0), (0, gpu_ms)]


def test_a_hundred_parallel_creates_at_the_last_units_are_exact(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, 7 * PRICE)
    limit(world, tenant, 9_000, Meter.VIDEO_MS, Period.MONTH)

    def attempt(_: int) -> bool:
        try:
            world.create(tenant)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        accepted = sum(pool.map(attempt, range(100)))
    assert accepted == 7
    assert quota(world, tenant) == (7 * PRICE, 0)
    assert quota(world, tenant, Meter.VIDEO_MS) == (7_000, 0)
    assert sums(world, tenant)[:2] == (7 * PRICE, 7_000)


def age(owner_url: str, tenant: UUID, days: int) -> None:
    """Let days pass: what was written lies so far back."""
    engine = sa.create_engine(owner_url)
    with engine.begin() as connection:
        for table, column in (("ledger", "at"), ("quotas", "since")):
            passed = f"UPDATE {table} SET {column} = {column} - make_interval(days => :days) WHERE tenant_id = :tenant"  # noqa: S608 - our own names
            connection.execute(sa.text(passed), {"days": days, "tenant": tenant})
    engine.dispose()


@pytest.mark.parametrize(("period", "days"), [(Period.DAY, 1), (Period.MONTH, 31)])
def test_a_hold_of_an_earlier_period_is_charged_in_the_one_in_which_it_ends(
    world: World, owner_url: str, period: Period, days: int
) -> None:
    tenant = world.tenant()
    limit(world, tenant, 2 * PRICE, period=period)
    world.queued(tenant)
    world.advance(Stage.RENDER)
    world.advance(Stage.PUBLISH)
    waiting = world.create(tenant)
    age(owner_url, tenant, days)
    assert quota(world, tenant) == (PRICE, 0), "a new period; the hold goes along"
    world.create(tenant)
    with pytest.raises(QuotaExceeded):
        world.create(tenant)
    cancel(world, tenant, waiting)
    assert quota(world, tenant) == (PRICE, 0)
    world.queued(tenant)
    assert quota(world, tenant) == (2 * PRICE, 0)
    world.advance(Stage.RENDER)
    world.advance(Stage.PUBLISH)
    assert quota(world, tenant) == (PRICE, PRICE)


def test_a_limit_set_late_counts_what_is_held_and_used(world: World, owner_url: str) -> None:
    tenant = world.tenant()
    world.queued(tenant)
    world.advance(Stage.RENDER)
    world.advance(Stage.PUBLISH)
    age(owner_url, tenant, 40)
    world.queued(tenant, seconds=2)
    world.advance(Stage.RENDER)
    world.advance(Stage.PUBLISH)
    world.create(tenant, seconds=4)
    limit(world, tenant, 1)
    assert quota(world, tenant) == (4 * PRICE, 3 * PRICE)
    limit(world, tenant, 1, period=Period.MONTH)
    assert quota(world, tenant) == (4 * PRICE, 2 * PRICE)


def test_a_cleared_limit_limits_no_more(world: World) -> None:
    tenant = world.tenant()
    limit(world, tenant, 0)
    with world.database.transaction_for_any_tenant() as connection:
        assert ledger.clear_limit(connection, tenant, Meter.MICROS)
        assert not ledger.clear_limit(connection, tenant, Meter.MICROS)
    world.create(tenant)
    with world.database.transaction(tenant) as connection:
        assert ledger.limits(connection, tenant) == ()
        assert connection.scalar(sa.select(sa.func.count()).select_from(quotas)) == 0


def test_a_limit_waits_for_the_create_that_is_under_way(world: World) -> None:
    """Neither counted twice nor missed: the create ends first, or finds the limit."""
    tenant = world.tenant()
    entered, leave = threading.Event(), threading.Event()

    def create_slowly() -> None:
        with world.database.transaction(tenant) as connection:
            videos_of.create(connection, tenant, world.planned())
            entered.set()
            assert leave.wait(5)

    with ThreadPoolExecutor(2) as pool:
        creating = pool.submit(create_slowly)
        assert entered.wait(5)
        limiting = pool.submit(limit, world, tenant, 5 * PRICE)
        time.sleep(0.2)
        assert not limiting.done()
        leave.set()
        creating.result()
        limiting.result()
    assert quota(world, tenant) == (PRICE, 0)


def test_creates_and_ends_while_limits_change_leave_nothing_uncounted(world: World, database_url: str) -> None:
    tenant = world.tenant(render_cap=100)
    others = Database(database_url, pool_size=8)
    stop = threading.Event()

    def create_and_cancel(_: int) -> None:
        mine = World(others)
        for _ in range(15):
            cancel(mine, tenant, mine.create(tenant))
            mine.create(tenant)

    def flip() -> None:
        while not stop.is_set():
            limit(world, tenant, 100_000_000)
            limit(world, tenant, 100_000_000, Meter.GPU_MS, Period.DAY)
            with world.database.transaction_for_any_tenant() as connection:
                ledger.clear_limit(connection, tenant, Meter.MICROS)

    with ThreadPoolExecutor(5) as pool:
        flipping = pool.submit(flip)
        list(pool.map(create_and_cancel, range(4)))
        stop.set()
        flipping.result()
    others.close()
    with world.database.transaction(tenant) as connection:
        found = {each.meter: each.held for each in ledger.limits(connection, tenant)}
    assert found[Meter.GPU_MS] == sums(world, tenant)[2]
    limit(world, tenant, 100_000_000)
    assert quota(world, tenant) == (60 * PRICE, 0)
