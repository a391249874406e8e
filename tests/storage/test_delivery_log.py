from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.deliveries import Attempt, Delivered, ErrorClass, GivenUp, RetryIn
from domain.ids import new_id
from domain.webhooks import EventType
from storage import delivery_log, webhooks
from storage.delivery_log import Span
from tests.fixtures.videos import World
from tests.storage.test_lanes import ERROR, OK, announce, claim, finish, must_claim, register

BOTH = (EventType.BATCH_FAILED, EventType.BATCH_EXPIRED)
GIVEN_UP = ("failed", "cancelled")


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    with world.database.transaction_for_any_tenant() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def since(**ago: float) -> datetime:
    return datetime.now(UTC) - timedelta(**ago)


def span(states: tuple[str, ...] = GIVEN_UP, **options: Any) -> Span:
    return Span(**{"since": since(minutes=1), "until": since(minutes=-1), "states": states, **options})


def replay(world: World, tenant: UUID, scope: UUID, wanted: Span) -> delivery_log.Replayed:
    with world.database.transaction(tenant) as connection:
        return delivery_log.replay(connection, tenant, scope, wanted)


def resend(world: World, tenant: UUID, scope: UUID, message: UUID) -> bool:
    with world.database.transaction(tenant) as connection:
        return delivery_log.resend(connection, tenant, scope, message)


def test_the_log_shows_what_was_sent_newest_first_and_filters_it(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 3)
    finish(world, must_claim(world), OK, Delivered())
    finish(world, must_claim(world), ERROR, RetryIn(300))
    with world.database.transaction(tenant) as connection:
        page = delivery_log.page(connection, tenant, endpoint.id, limit=2)
        rest = delivery_log.page(connection, tenant, endpoint.id, after=page.entries[-1].message_id)
        done = delivery_log.page(connection, tenant, endpoint.id, state="delivered")
        none = delivery_log.page(connection, tenant, endpoint.id, event_type=EventType.PING)
        of_requests = delivery_log.page(connection, tenant, None)
    assert (page.has_more, rest.has_more) == (True, False)
    assert [e.event["data"]["id"] for e in page.entries + rest.entries] == ["batch_2", "batch_1", "batch_0"]
    untouched, retried, delivered = page.entries + rest.entries
    assert (untouched.attempts, untouched.last_status, untouched.next_at is None) == (0, None, False)
    assert (retried.last_status, retried.last_error, retried.state) == (500, "E_HTTP", "pending")
    assert (delivered.state, delivered.next_at, delivered.ended_at is None) == ("delivered", None, False)
    assert done.entries == (delivered,)
    assert none.entries == of_requests.entries == ()


def test_every_attempt_is_kept_with_its_timings_and_answer(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant)
    first = must_claim(world)
    finish(world, first, Attempt(7, 500, ErrorClass.HTTP, b"oops", None, {"dns": 1, "connect": 2}), GivenUp())
    assert resend(world, tenant, endpoint.id, first.message_id)
    finish(world, must_claim(world), OK, Delivered())
    with world.database.transaction(tenant) as connection:
        entry = delivery_log.find(connection, tenant, endpoint.id, first.message_id)
        assert entry is not None
        failed, delivered = delivery_log.attempts_of(connection, tenant, entry)
    assert (failed.attempt, failed.status, failed.error, failed.response) == (1, 500, "E_HTTP", "oops")
    assert (failed.duration_ms, failed.timings) == (7, {"dns": 1, "connect": 2})
    assert (delivered.attempt, delivered.status, delivered.error) == (1, 200, None)


@pytest.mark.parametrize("verdict", [Delivered(), GivenUp()])
def test_what_ended_is_sent_again_under_its_id_with_a_fresh_count(world: World, verdict: Any) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant)
    first = must_claim(world)
    finish(world, first, OK if verdict == Delivered() else ERROR, verdict)
    assert claim(world) is None
    assert resend(world, tenant, endpoint.id, first.message_id)
    again = must_claim(world)
    assert (again.public_id, again.body, again.attempts) == (first.public_id, first.body, 1)
    assert again.fence > first.fence


def test_what_is_being_sent_is_left_alone(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant)
    in_hand = must_claim(world)
    assert resend(world, tenant, endpoint.id, in_hand.message_id)
    assert claim(world) is None
    finish(world, in_hand, OK, Delivered())


def test_a_replay_takes_what_was_given_up_in_its_span_at_a_bounded_rate(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 5)
    for number in range(5):
        finish(world, must_claim(world), OK if number == 0 else ERROR, Delivered() if number == 0 else GivenUp())
    before = [entry[0] for entry in rows(world, "SELECT message_id FROM webhook_deliveries ORDER BY message_id")]
    assert replay(world, tenant, endpoint.id, span()) == delivery_log.Replayed(4, has_more=False)
    times = rows(
        world,
        "SELECT message_id, extract(epoch FROM next_at - min(next_at) OVER ()) FROM webhook_deliveries"
        " WHERE state = 'pending' ORDER BY message_id",
    )
    assert [message for message, _ in times] == before[1:]
    assert [round(float(wait), 1) for _, wait in times] == [0.0, 0.1, 0.2, 0.3], "ten a second, oldest first"


def test_a_replay_of_all_takes_what_arrived_too_but_no_other_type_or_time(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 2)
    for _ in range(2):
        finish(world, must_claim(world), OK, Delivered())
    assert replay(world, tenant, endpoint.id, span()).scheduled == 0
    everything = ("delivered", *GIVEN_UP)
    assert replay(world, tenant, endpoint.id, span(everything, types=(EventType.PING,))).scheduled == 0
    earlier = span(everything, since=since(hours=2), until=since(hours=1))
    assert replay(world, tenant, endpoint.id, earlier).scheduled == 0
    assert replay(world, tenant, endpoint.id, span(everything, types=(EventType.BATCH_FAILED,))).scheduled == 2


def test_a_replay_is_bounded_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_log, "REPLAY_LIMIT", 2)
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, 3)
    for _ in range(3):
        finish(world, must_claim(world), ERROR, GivenUp())
    assert replay(world, tenant, endpoint.id, span()) == delivery_log.Replayed(2, has_more=True)
    assert replay(world, tenant, endpoint.id, span()) == delivery_log.Replayed(1, has_more=False)


def test_what_a_disabled_endpoint_missed_can_be_replayed_once_it_is_back(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    with world.database.transaction(tenant) as connection:
        webhooks.disable(connection, tenant, endpoint.id, "failing")
    announce(world, tenant, 2)
    assert claim(world) is None
    with world.database.transaction(tenant) as connection:
        webhooks.update(connection, tenant, endpoint.id, webhooks.Changes())
    assert claim(world) is None, "nothing is sent by itself"
    assert replay(world, tenant, endpoint.id, span()).scheduled == 2
    assert claim(world) is not None


def test_another_tenants_log_does_not_exist(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    endpoint = register(world, theirs)
    announce(world, theirs)
    [(message,)] = rows(world, "SELECT id FROM webhook_messages")
    with world.database.transaction(mine) as connection:
        assert delivery_log.page(connection, mine, endpoint.id).entries == ()
        assert delivery_log.find(connection, mine, endpoint.id, message) is None
    assert not resend(world, mine, endpoint.id, message)
    assert replay(world, mine, endpoint.id, span(("pending",))).scheduled == 0


def test_the_log_is_kept_for_thirty_days(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant)
    announce(world, tenant, 2)
    for _ in range(2):
        finish(world, must_claim(world), OK, Delivered())
    old, kept = (row[0] for row in rows(world, "SELECT id FROM webhook_messages ORDER BY id"))
    aged = new_id(int((datetime.now(UTC) - timedelta(days=30, seconds=2)).timestamp()) * 1_000_000_000)
    with world.database.transaction_for_any_tenant() as connection:
        assert delivery_log.forget_for_any_tenant(connection, 9) == 0
        connection.execute(sa.text("DELETE FROM webhook_attempts WHERE message_id = :old"), {"old": old})
        connection.execute(sa.text("DELETE FROM webhook_deliveries WHERE message_id = :old"), {"old": old})
        connection.execute(
            sa.text("UPDATE webhook_messages SET id = :aged WHERE id = :old"), {"aged": aged, "old": old}
        )
        connection.execute(
            sa.text(
                "INSERT INTO webhook_deliveries (tenant_id, message_id, endpoint_id, state)"
                " SELECT tenant_id, :aged, endpoint_id, 'failed' FROM webhook_deliveries"
            ),
            {"aged": aged},
        )
        connection.execute(
            sa.text(
                "INSERT INTO webhook_attempts (tenant_id, message_id, endpoint_id, attempt, fence, duration_ms)"
                " SELECT tenant_id, :aged, endpoint_id, 1, 1, 1 FROM webhook_attempts"
            ),
            {"aged": aged},
        )
        assert delivery_log.forget_for_any_tenant(connection, 9) == 1
        assert delivery_log.forget_for_any_tenant(connection, 9) == 0
    for table in ("webhook_attempts", "webhook_deliveries"):
        assert rows(world, f"SELECT message_id FROM {table}") == [(kept,)]  # noqa: S608 - our own names
    assert rows(world, "SELECT id FROM webhook_messages") == [(kept,)]
