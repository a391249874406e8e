"""What a claim costs, and whom it serves, when much is due."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.circuits import Limits
from domain.deliveries import Attempt, Delivered, ErrorClass, GivenUp, RetryIn
from domain.webhooks import MAX_RATE, MIN_RATE, EventType, Pace
from storage import announcements, deliveries, lanes, webhooks
from storage.deliveries import Delivery, Finished
from storage.webhooks import Changes, Endpoint
from tests.fixtures.videos import World

KEYS = {"1": secrets.token_bytes(32)}
OK = Attempt(5, 200)
ERROR = Attempt(5, 500, ErrorClass.HTTP)


def register(
    world: World, tenant: UUID, pace: Pace | None = None, event_type: EventType = EventType.BATCH_FAILED
) -> Endpoint:
    with world.database.transaction(tenant) as connection:
        endpoint, _ = webhooks.create(
            connection,
            tenant,
            name="n",
            url="https://example.com/",
            event_types=[event_type],
            keys=KEYS,
            pace=pace,
        )
    return endpoint


def announce(world: World, tenant: UUID, times: int = 1, event_type: EventType = EventType.BATCH_FAILED) -> None:
    with world.database.transaction(tenant) as connection:
        for number in range(times):
            announcements.announce(connection, tenant, event_type, f"batch_{number}")


def wake(world: World) -> int:
    with world.database.transaction_for_any_tenant() as connection:
        return lanes.wake_for_any_tenant(connection)


def claim(world: World, after: UUID | None = None) -> Delivery | None:
    wake(world)
    with world.database.transaction_for_any_tenant() as connection:
        return deliveries.claim_delivery_for_any_tenant(connection, 60, after)


def must_claim(world: World, after: UUID | None = None) -> Delivery:
    delivery = claim(world, after)
    assert delivery is not None
    return delivery


def finish(world: World, delivery: Delivery, attempt: Attempt, verdict: object, limits: Limits = Limits()) -> Finished:  # noqa: B008 - frozen
    with world.database.transaction(delivery.tenant_id) as connection:
        finished = deliveries.finish(connection, delivery, attempt, verdict, limits)
    assert finished is not None
    return finished


def run(world: World, statement: str, **values: object) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text(statement), values)


def find(world: World, tenant: UUID, endpoint: Endpoint) -> Endpoint:
    with world.database.transaction(tenant) as connection:
        found = webhooks.find(connection, tenant, endpoint.id)
    assert found is not None
    return found


def due(world: World, limit: int = 99) -> int:
    with world.database.transaction_for_any_tenant() as connection:
        return lanes.due_for_any_tenant(connection, limit)


def fail(world: World, times: int, limits: Limits = Limits()) -> list[Finished]:  # noqa: B008 - frozen
    """So many failed attempts, each of another message."""
    return [finish(world, must_claim(world), ERROR, RetryIn(300), limits) for _ in range(times)]


def test_the_bound_is_the_endpoints_own(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant, Pace(concurrency=2))
    announce(world, tenant, 5)
    assert due(world) == 2, "no more hints than there is room"
    first, _ = must_claim(world), must_claim(world)
    assert claim(world) is None
    assert due(world) == 0
    finish(world, first, OK, Delivered())
    assert claim(world) is not None


def test_a_rate_spaces_deliveries_out(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant, Pace(rate=5.0, concurrency=16))
    announce(world, tenant, 6)
    started, taken = time.monotonic(), 0
    while taken < 6 and time.monotonic() - started < 5:
        taken += claim(world) is not None
    assert taken == 6
    assert time.monotonic() - started >= 1.0, "five gaps of a fifth of a second"


def test_the_database_refuses_a_rate_that_it_cannot_reckon_with(world: World) -> None:
    with pytest.raises(sa.exc.IntegrityError, match="webhook_endpoints_rate"):
        register(world, world.tenant(), Pace(rate=1e-300))


@pytest.fixture
def poisoned(world: World, owner_url: str) -> Iterator[Endpoint]:
    """An endpoint whose every claim is an error of the database."""
    tenant = world.tenant("poisoned")
    endpoint = register(world, tenant)
    owner = sa.create_engine(owner_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with owner.connect() as connection:
        connection.execute(sa.text("ALTER TABLE webhook_endpoints DROP CONSTRAINT webhook_endpoints_rate"))
        run(world, "UPDATE webhook_endpoints SET rate = 1e-300 WHERE id = :id", id=endpoint.id)
        announce(world, tenant, 3)
        yield endpoint
        run(world, "UPDATE webhook_endpoints SET rate = NULL")
        check = f"CHECK (rate BETWEEN {MIN_RATE} AND {MAX_RATE:g})"
        connection.execute(sa.text(f"ALTER TABLE webhook_endpoints ADD CONSTRAINT webhook_endpoints_rate {check}"))


def test_an_endpoint_whose_claim_fails_is_put_off_and_the_others_are_served(
    world: World, poisoned: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    healthy = world.tenant("healthy")
    well = register(world, healthy)
    announce(world, healthy, 3)
    assert [must_claim(world).endpoint_id for _ in range(3)] == [well.id] * 3
    assert claim(world) is None
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (told.message, vars(told)["endpoint"]) == ("a webhook endpoint cannot be served", poisoned.id.hex)


def test_a_breaker_opens_and_what_waits_loses_no_attempt(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 15)
    results = fail(world, 10)
    assert [result.paused_seconds for result in results] == [0.0] * 9 + [30.0]
    assert claim(world) is None, "it is open"
    assert due(world) == 0, "and nobody is rung for it"
    assert find(world, tenant, endpoint).health.open_until is not None
    with world.database.transaction_for_any_tenant() as connection:
        untouched = connection.scalar(sa.text("SELECT count(*) FROM webhook_deliveries WHERE attempts = 0"))
    assert untouched == 5


def test_one_probe_at_a_time_decides_whether_it_closes(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 15)
    fail(world, 10)
    run(world, "UPDATE webhook_endpoints SET open_until = clock_timestamp()")
    probe = must_claim(world)
    assert claim(world) is None, "one probe"
    assert finish(world, probe, ERROR, RetryIn(300)).paused_seconds == 60.0
    run(world, "UPDATE webhook_endpoints SET open_until = clock_timestamp()")
    finish(world, must_claim(world), OK, Delivered())
    assert find(world, tenant, endpoint).health.open_until is None
    assert [claim(world) is not None for _ in range(4)] == [True] * 3 + [False], "three are left"


def test_another_endpoint_of_the_tenant_goes_on_while_a_breaker_is_open(world: World) -> None:
    tenant = world.tenant()
    broken = register(world, tenant)
    announce(world, tenant, 12)
    fail(world, 10)
    well = register(world, tenant)
    announce(world, tenant, 3)
    assert {must_claim(world).endpoint_id for _ in range(3)} == {well.id}
    assert well.id != broken.id


def test_an_unreadable_secret_is_not_held_against_the_receiver(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 12)
    for _ in range(12):
        finish(world, must_claim(world), Attempt(0, error=ErrorClass.SECRET), RetryIn(300))
    assert find(world, tenant, endpoint).health == endpoint.health


def test_an_endpoint_that_fails_for_days_is_disabled_with_notice_and_the_others_are_told(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    watching = register(world, tenant, event_type=EventType.ENDPOINT_DISABLED)
    limits = Limits(attempts=1000)
    announce(world, tenant, 30)
    fail(world, 20, limits)
    alerts: list[int] = []
    for days in (1.0, 2.6, 3.6, 4.6, 5.1):
        run(world, "UPDATE webhook_endpoints SET failing_since = clock_timestamp() - :ago * interval '1 day'", ago=days)
        run(world, "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = :id", id=watching.id)
        [finished] = fail(world, 1, limits)
        alerts.append(finished.alert_percent)
    assert alerts == [0, 50, 70, 90, 100]
    assert finished.disabled == "failing"
    disabled = find(world, tenant, endpoint)
    assert (disabled.disabled_at is not None, disabled.disabled_reason) == (True, "failing")
    notice = must_claim(world)
    assert notice.endpoint_id == watching.id
    event = json.loads(notice.body)
    assert (event["type"], event["data"]["id"]) == ("webhook_endpoint.disabled", f"whe_{endpoint.id.hex}")
    assert claim(world) is None, "what waited for the disabled one is dropped"


def test_an_update_forgives(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 15)
    fail(world, 10)
    with world.database.transaction(tenant) as connection:
        healed = webhooks.update(connection, tenant, endpoint.id, Changes(url="https://new.example.com/"))
    assert healed is not None
    assert healed.health == endpoint.health
    assert claim(world) is not None


def test_410_disables_at_once(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant)
    finished = finish(world, must_claim(world), Attempt(5, 410, ErrorClass.HTTP), GivenUp(gone=True))
    assert finished.disabled == "gone"
    assert find(world, tenant, endpoint).disabled_reason == "gone"


@pytest.fixture
def flooded(world: World) -> tuple[UUID, UUID]:
    """100,000 rows are due for one endpoint, one for another, and 200 endpoints have a retry in the future."""
    flooding, modest = world.tenant("flooding"), world.tenant("modest")
    deep = register(world, flooding)
    for _ in range(200):
        register(world, flooding, event_type=EventType.BATCH_EXPIRED)
    announce(world, flooding, event_type=EventType.BATCH_EXPIRED)
    run(world, "UPDATE webhook_deliveries SET ready = false, next_at = clock_timestamp() + interval '1 hour'")
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(
            sa.text("""
            INSERT INTO webhook_messages (id, tenant_id, type, body)
            SELECT gen_random_uuid(), :tenant, 'batch.failed', '{}' FROM generate_series(1, 100000)
            """),
            {"tenant": flooding},
        )
        connection.execute(
            sa.text("""
            INSERT INTO webhook_deliveries (tenant_id, message_id, endpoint_id, state, ready)
            SELECT tenant_id, id, :endpoint, 'pending', true FROM webhook_messages WHERE type = 'batch.failed'
            """),
            {"endpoint": deep.id},
        )
    register(world, modest)
    announce(world, modest)
    return deep.id, modest


@pytest.mark.usefixtures("flooded")
def test_a_claim_among_a_hundred_thousand_due_rows_reads_a_few_index_entries(world: World, owner_url: str) -> None:
    owner = sa.create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        connection.execute(sa.text("VACUUM ANALYZE webhook_deliveries"))
    owner.dispose()
    with world.database.transaction_for_any_tenant() as connection:
        plan = connection.scalar(
            sa.text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {lanes.CHOOSE.text}"),
            {"after": UUID(int=0), "visited": lanes.VISITED},
        )[0]
    nodes = list(walk(plan["Plan"]))
    reads = [node for node in nodes if node.get("Relation Name") == "webhook_deliveries"]
    assert {node["Node Type"] for node in reads} <= {"Index Scan", "Index Only Scan"}, reads
    assert {node.get("Index Name") for node in reads} == {"webhook_deliveries_due", "webhook_deliveries_leased"}
    assert not any(node["Node Type"] == "Sort" and node["Actual Rows"] > 1_000 for node in nodes)
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in reads) < 1_000
    print(f"choosing among 202 endpoints and 100,000 due rows: {plan['Execution Time']:.2f} ms")


def walk(node: dict) -> list[dict]:
    return [node, *(each for child in node.get("Plans", []) for each in walk(child))]


def test_a_long_backlog_neither_slows_nor_outranks_others(world: World, flooded: tuple[UUID, UUID]) -> None:
    deep, modest = flooded
    assert {must_claim(world).tenant_id for _ in range(2)} >= {modest}
    times: list[float] = []
    for _ in range(3):
        started = time.monotonic()
        assert must_claim(world).endpoint_id == deep
        times.append(time.monotonic() - started)
    print(f"a claim beside 100,000 due rows: {min(times) * 1000:.1f} ms")
    assert min(times) < 0.25, "a scan of all that is due takes longer than that"


def test_however_many_endpoints_wait_for_later_what_is_due_is_found(world: World, owner_url: str) -> None:
    waiting, modest = world.tenant("waiting"), world.tenant("modest")
    register(world, waiting)
    announce(world, waiting)
    run(
        world,
        """
        INSERT INTO webhook_endpoints (id, tenant_id, name, url, event_types)
        SELECT ('00000000' || substr(gen_random_uuid()::text, 9))::uuid, :tenant, '', '', '{}'
        FROM generate_series(1, 20001)
        """,
        tenant=waiting,
    )
    run(
        world,
        """
        INSERT INTO webhook_deliveries (tenant_id, message_id, endpoint_id, state, next_at)
        SELECT e.tenant_id, m.id, e.id, 'pending', clock_timestamp() + interval '1 hour'
        FROM webhook_endpoints e JOIN webhook_messages m USING (tenant_id)
        ON CONFLICT (message_id, endpoint_id) DO UPDATE SET ready = false, next_at = excluded.next_at
        """,
    )
    due_one = register(world, modest)
    announce(world, modest)
    run(world, "UPDATE webhook_deliveries SET ready = false WHERE endpoint_id = :id", id=due_one.id)
    owner = sa.create_engine(owner_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with owner.connect() as connection:
        connection.execute(sa.text("VACUUM ANALYZE webhook_deliveries"))
    with world.database.transaction_for_any_tenant() as connection:
        plan = connection.scalar(sa.text(f"EXPLAIN (FORMAT JSON) {lanes.WAKE.text}"), {"limit": lanes.WOKEN})[0]
    assert "webhook_deliveries_later" in {node.get("Index Name") for node in walk(plan["Plan"])}
    assert (wake(world), wake(world), due(world)) == (1, 0, 1)
    assert must_claim(world).endpoint_id == due_one.id
    assert claim(world) is None


def test_what_is_due_is_counted_beyond_one_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "VISITED", 3)
    tenant = world.tenant()
    for _ in range(7):
        register(world, tenant)
    announce(world, tenant)
    assert (due(world), due(world, 5)) == (7, 5)


def test_beyond_what_one_look_takes_in_the_next_look_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "VISITED", 3)
    tenant = world.tenant()
    endpoints = [register(world, tenant, Pace(concurrency=1)) for _ in range(7)]
    announce(world, tenant)
    served: list[UUID] = []
    after: UUID | None = None
    while delivery := claim(world, after):
        after = delivery.endpoint_id
        served.append(after)
    assert sorted(served) == sorted(endpoint.id for endpoint in endpoints)
