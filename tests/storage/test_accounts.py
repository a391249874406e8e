"""Whatever happens in whatever order: the ledger, the quotas and the usage tell the same story."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domain.errors import QuotaExceeded
from domain.ledger import Kind, Meter
from domain.lifecycle import ACTIVE, BEFORE_RENDERING, RUNS, TERMINAL, Stage, State
from domain.quotas import Period, Quota
from domain.usage import Span, grouping
from storage import leases, ledger, usage
from storage import videos as videos_of
from storage.database import Connection
from storage.lifecycle import Move, move
from storage.schedule import Lease
from storage.tables import ledger as entries
from storage.tables import quotas, videos
from tests.fixtures.videos import AFTER, World

ALWAYS = Span(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Play:
    """One tenant, and what may happen to it. Each step does what it can and is otherwise nothing."""

    world: World
    tenant: UUID
    owner_url: str
    held: dict[UUID, Lease]

    def create(self, number: int) -> None:
        before = self.limits()
        try:
            self.world.create(self.tenant, seconds=2 ** (number % 3), metadata={"n": str(number % 2)})
        except QuotaExceeded:
            assert before, "nobody is refused without a limit"
            assert self.limits() == before, "a refusal leaves no trace"
        else:
            # GPU time is charged as it was, which may be more than was set aside; a create never goes beyond.
            assert all(quota.left >= 0 for quota in self.limits())

    def claim(self, number: int) -> None:
        for stage in (*Stage,)[number % 3 :]:
            lease = self.world.claim(stage)
            if lease is not None:
                self.held[lease.video_id] = lease
                return

    def finish(self, number: int) -> None:
        lease = self.take(number)
        if lease is not None:
            assert self.world.move(lease, AFTER[lease.stage])

    def work(self, number: int) -> None:
        """Take what is furthest to its end, so that some videos are completed."""
        for _ in range(1 + number % 3):
            for stage in reversed(Stage):
                lease = self.world.claim(stage)
                if lease is not None:
                    assert self.world.move(lease, AFTER[stage])
                    break

    def fail(self, number: int) -> None:
        lease = self.take(number)
        if lease is not None:
            assert self.world.move(lease, State.FAILED, error_code="render_failed")

    def crash(self, number: int) -> None:
        """The worker dies: its lease runs out, and the reaper finds it."""
        lease = self.take(number)
        if lease is not None:
            with self.world.database.transaction(self.tenant) as connection:
                assert leases.renew(connection, lease, -1.0, 1, None)
            with self.world.database.transaction_for_any_tenant() as connection:
                assert len(leases.reap_for_any_tenant(connection, 10)) == 1

    def cancel(self, number: int) -> None:
        self.end(number, ACTIVE, State.CANCELLED)

    def expire(self, number: int) -> None:
        self.end(number, {State.RECEIVED, State.QUEUED} & BEFORE_RENDERING, State.EXPIRED)

    def erase(self, number: int) -> None:
        with self.world.database.transaction(self.tenant) as connection:
            done = connection.scalars(sa.select(videos.c.id).where(videos.c.state.in_(TERMINAL))).all()
            if done:
                videos_of.mark_deleted(connection, self.tenant, sorted(done)[number % len(done)])

    def limit(self, number: int) -> None:
        meter, period = list(Meter)[number % 3], list(Period)[number // 3 % 3]
        scale = {Meter.MICROS: 10_000, Meter.VIDEO_MS: 1_000, Meter.GPU_MS: 30}[meter]
        with self.world.database.transaction_for_any_tenant() as connection:
            ledger.set_limit(connection, self.tenant, meter, number % 8 * scale, period)

    def clear(self, number: int) -> None:
        with self.world.database.transaction_for_any_tenant() as connection:
            ledger.clear_limit(connection, self.tenant, list(Meter)[number % 3])

    def sleep(self, number: int) -> None:
        """Whole months pass, as days and months both understand them: all that was written lies further back."""
        engine = sa.create_engine(self.owner_url)
        with engine.begin() as connection:
            length = sa.text(f"interval '{number % 3} months'")
            mine = sa.update(entries).where(entries.c.tenant_id == self.tenant)
            connection.execute(mine.values(at=entries.c.at - length))
            limited = sa.update(quotas).where(quotas.c.tenant_id == self.tenant, quotas.c.period != Period.TOTAL)
            connection.execute(limited.values(since=quotas.c.since - length))
        engine.dispose()

    def take(self, number: int) -> Lease | None:
        known = sorted(self.held)
        return self.held.pop(known[number % len(known)]) if known else None

    def end(self, number: int, states: set[State] | frozenset[State], after: State) -> None:
        with self.world.database.transaction(self.tenant) as connection:
            query = sa.select(videos.c.id, videos.c.state, videos.c.fence).where(videos.c.state.in_(states))
            rows = connection.execute(query.order_by(videos.c.id)).all()
            if rows:
                row = rows[number % len(rows)]
                change = Move(self.tenant, row.id, State(row.state), after, row.fence, error_code="cancelled")
                assert move(connection, change)
                self.held.pop(row.id, None)

    def limits(self) -> tuple[Quota, ...]:
        with self.world.database.transaction(self.tenant) as connection:
            return ledger.limits(connection, self.tenant)


STEPS: list[Callable[[Play, int], None]] = [
    *[Play.create] * 4,
    *[Play.work] * 5,
    Play.claim,
    Play.finish,
    Play.fail,
    Play.crash,
    Play.cancel,
    Play.expire,
    Play.erase,
    Play.limit,
    Play.clear,
    Play.sleep,
    Play.sleep,
]


def hold_the_accounts_together(connection: Connection, tenant: UUID) -> None:
    """The invariants, from the rows alone."""
    rows = connection.execute(sa.select(videos.c.id, videos.c.state, videos.c.gpu_ms, videos.c.price_micros)).all()
    by_video: dict[UUID, dict[Kind, sa.RowMapping]] = {row.id: {} for row in rows}
    for entry in connection.execute(sa.select(entries)).mappings():
        by_video[entry["video_id"]][Kind(entry["kind"])] = entry
    for row in rows:
        check_video(row, by_video[row.id])
    for quota in connection.execute(sa.select(quotas)).mappings():
        check_quota(quota, by_video)
    check_usage(connection, tenant, by_video)


def check_video(row: sa.Row[tuple[UUID, str, int, int]], kinds: dict[Kind, sa.RowMapping]) -> None:
    held = kinds[Kind.HOLD]
    if row.state not in TERMINAL:
        assert set(kinds) == {Kind.HOLD}
        return
    assert all(held[meter] + kinds[Kind.RELEASE][meter] == 0 for meter in Meter)
    charge = kinds.get(Kind.CHARGE)
    expected = (row.price_micros, held["video_ms"]) if row.state == State.COMPLETED else (0, 0)
    if charge is None:
        assert row.state != State.COMPLETED
        assert row.gpu_ms == 0
    else:
        assert (charge["micros"], charge["video_ms"], charge["gpu_ms"]) == (*expected, row.gpu_ms)
        assert all(charge[name] == held[name] for name in ("key_id", "model", "labels"))


def check_quota(quota: sa.RowMapping, by_video: dict[UUID, dict[Kind, sa.RowMapping]]) -> None:
    all_entries = [entry for kinds in by_video.values() for entry in kinds.values()]
    meter = quota["meter"]
    assert quota["held"] == sum(entry[meter] for entry in all_entries if entry["kind"] != Kind.CHARGE)
    charges = [entry for entry in all_entries if entry["kind"] == Kind.CHARGE and entry["at"] >= quota["since"]]
    assert quota["used"] == sum(entry[meter] for entry in charges)


def check_usage(connection: Connection, tenant: UUID, by_video: dict[UUID, dict[Kind, sa.RowMapping]]) -> None:
    charges = {video: kinds[Kind.CHARGE] for video, kinds in by_video.items() if Kind.CHARGE in kinds}
    totals = tuple(sum(charge[meter] for charge in charges.values()) for meter in Meter)
    for by in ("day", "label:n", "key,model", "video"):
        page = usage.page(connection, tenant, ALWAYS, grouping(by), limit=1_000)
        assert sum(line.videos for line in page.lines) == len(charges)
        assert tuple(sum(getattr(line, meter) for line in page.lines) for meter in Meter) == totals


@pytest.mark.timeout(300)
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # shrinking would take minutes on a real database
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 40)), min_size=15, max_size=35))
def test_ledger_quotas_and_usage_always_agree(
    world: World, owner_url: str, steps: list[tuple[Callable[[Play, int], None], int]]
) -> None:
    play = Play(world, world.tenant(f"t{time.monotonic_ns()}", render_cap=100), owner_url, {})
    with world.database.transaction_for_any_tenant() as connection:
        for meter, period in zip(Meter, (Period.DAY, Period.MONTH, Period.TOTAL), strict=True):
            ledger.set_limit(connection, play.tenant, meter, 1_000_000, period)
    for step, number in steps:
        step(play, number)
        with world.database.transaction(play.tenant) as connection:
            hold_the_accounts_together(connection, play.tenant)
    for _ in range(len(steps)):  # nothing may be left for the next example to claim
        play.cancel(0)
    with world.database.transaction(play.tenant) as connection:
        hold_the_accounts_together(connection, play.tenant)
        assert all(quota.held == 0 for quota in ledger.limits(connection, play.tenant))
        assert {RUNS[stage].running for stage in Stage} & set(connection.scalars(sa.select(videos.c.state))) == set()


def test_an_end_that_dies_before_its_commit_charges_nothing_and_the_next_one_once(world: World, owner_url: str) -> None:
    tenant = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant, Meter.MICROS, 1_000_000, Period.MONTH)
    world.queued(tenant, metadata={"n": "1"})
    world.advance(Stage.RENDER)
    lease = world.must_claim(Stage.PUBLISH)
    change = Move(tenant, lease.video_id, State.PUBLISHING, State.COMPLETED, lease.fence)
    with pytest.raises(sa.exc.OperationalError):
        end_and_die(world, owner_url, change)
    charged = []
    for _ in range(2):
        with world.database.transaction(tenant) as connection:
            hold_the_accounts_together(connection, tenant)
            charged.append(usage.page(connection, tenant, ALWAYS, grouping("label:n"), limit=10).lines)
            move(connection, change)
    assert charged[0] == ()
    assert [(line.label, line.videos, line.micros) for line in charged[1]] == [("1", 1, 10_000)]


def end_and_die(world: World, owner_url: str, change: Move) -> None:
    """Everything is written, and the connection is killed before COMMIT."""
    engine = sa.create_engine(owner_url)
    with world.database.transaction(change.tenant_id) as connection:
        assert move(connection, change)
        backend = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with engine.connect() as other:
            assert other.scalar(sa.text("SELECT pg_terminate_backend(:backend, 5000)"), {"backend": backend})
        engine.dispose()
