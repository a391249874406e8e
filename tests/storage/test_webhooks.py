from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.deliveries import Attempt, Delivered, ErrorClass, GivenUp, RetryIn
from domain.ids import new_id
from domain.lifecycle import State
from domain.webhooks import CONCURRENCY, EventType
from storage import announcements, deliveries, lanes, webhooks
from storage.deliveries import Delivery, Finished
from storage.secrets import unseal
from storage.webhooks import Changes, Endpoint
from tests.fixtures.videos import World

KEYS = {"1": secrets.token_bytes(32)}
OK = Attempt(5, 200, response=b"thanks")
ERROR = Attempt(5, 500, ErrorClass.HTTP, b"oops")


def register(world: World, tenant: UUID, types: Sequence[EventType] = tuple(EventType)) -> Endpoint:
    with world.database.transaction(tenant) as connection:
        endpoint, _ = webhooks.create(
            connection, tenant, name="mine", url="https://example.com/hook", event_types=types, keys=KEYS
        )
    return endpoint


def announce(world: World, tenant: UUID, state: State = State.COMPLETED, times: int = 1) -> None:
    for _ in range(times):
        video = world.create(tenant)
        with world.database.transaction(tenant) as connection:
            announcements.announce_state(connection, tenant, video, state)


def claim(world: World, lease_seconds: float = 60) -> Delivery | None:
    with world.database.transaction_for_any_tenant() as connection:
        lanes.wake_for_any_tenant(connection)
    with world.database.transaction_for_any_tenant() as connection:
        return deliveries.claim_delivery_for_any_tenant(connection, lease_seconds)


def must_claim(world: World, lease_seconds: float = 60) -> Delivery:
    delivery = claim(world, lease_seconds)
    assert delivery is not None
    return delivery


def finish(world: World, delivery: Delivery, attempt: Attempt, verdict: Any) -> Finished | None:
    with world.database.transaction(delivery.tenant_id) as connection:
        return deliveries.finish(connection, delivery, attempt, verdict)


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    with world.database.transaction_for_any_tenant() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def states(world: World) -> list[str]:
    return sorted(row[0] for row in rows(world, "SELECT state FROM webhook_deliveries"))


def find(world: World, tenant: UUID, endpoint: Endpoint) -> Endpoint | None:
    with world.database.transaction(tenant) as connection:
        return webhooks.find(connection, tenant, endpoint.id)


def test_the_secret_is_given_once_and_stored_encrypted(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction(tenant) as connection:
        endpoint, secret = webhooks.create(
            connection, tenant, name="n", url="https://example.com/", event_types=[EventType.VIDEO_FAILED], keys=KEYS
        )
    assert endpoint.event_types == (EventType.VIDEO_FAILED,)
    assert endpoint.secret_hint.endswith(secret[-4:])
    [(stored,)] = rows(world, "SELECT ciphertext FROM webhook_secrets")
    assert secret.removeprefix("whsec_").encode() not in stored
    announce(world, tenant, State.FAILED)
    assert [unseal(sealed, KEYS, endpoint.id) for sealed in must_claim(world).secrets] == [secret]


def test_a_rotated_secret_overlaps_with_the_one_before_for_as_long_as_asked(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction(tenant) as connection:
        endpoint, first = webhooks.create(
            connection, tenant, name="n", url="https://example.com/", event_types=tuple(EventType), keys=KEYS
        )
    second = rotate(world, tenant, endpoint, hours=24)
    assert signing(world, tenant) == [second, first]
    third = rotate(world, tenant, endpoint, hours=24)
    assert signing(world, tenant) == [third, second, first], "those that still overlap go on"
    fourth = rotate(world, tenant, endpoint, hours=0)
    assert signing(world, tenant) == [fourth]
    rotated = find(world, tenant, endpoint)
    assert rotated is not None
    assert rotated.secret_hint.endswith(fourth[-4:])
    assert rotated.updated_at > endpoint.updated_at


def rotate(world: World, tenant: UUID, endpoint: Endpoint, hours: int) -> str:
    with world.database.transaction(tenant) as connection:
        rotated = webhooks.rotate_secret(connection, tenant, endpoint.id, KEYS, timedelta(hours=hours))
    assert rotated is not None
    return rotated[1]


def signing(world: World, tenant: UUID) -> list[str]:
    """The secrets that sign the next delivery."""
    announce(world, tenant)
    delivery = must_claim(world)
    assert finish(world, delivery, OK, Delivered())
    return [unseal(sealed, KEYS, delivery.endpoint_id) for sealed in delivery.secrets]


def test_endpoints_are_listed_newest_first_in_pages(world: World) -> None:
    tenant = world.tenant()
    made = [register(world, tenant).id for _ in range(3)]
    with world.database.transaction(tenant) as connection:
        first = webhooks.page(connection, tenant, after=None, limit=2)
        second = webhooks.page(connection, tenant, after=first.endpoints[-1].id, limit=2)
    assert [e.id for e in first.endpoints + second.endpoints] == made[::-1]
    assert (first.has_more, second.has_more) == (True, False)


def test_an_update_changes_what_it_names_and_moves_the_time_only_then(world: World) -> None:
    tenant = world.tenant()
    before = register(world, tenant)
    with world.database.transaction(tenant) as connection:
        assert webhooks.update(connection, tenant, before.id, Changes(name="mine")) == before
        changed = webhooks.update(connection, tenant, before.id, Changes(url="https://new.example.com/"))
    assert changed is not None
    assert (changed.name, changed.url) == ("mine", "https://new.example.com/")
    assert changed.updated_at > before.updated_at
    assert changed.created_at == before.created_at


def test_another_tenants_endpoint_does_not_exist(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    endpoint = register(world, theirs)
    with world.database.transaction(mine) as connection:
        assert webhooks.find(connection, mine, endpoint.id) is None
        assert webhooks.update(connection, mine, endpoint.id, Changes(name="x")) is None
        assert not webhooks.delete(connection, mine, endpoint.id)
        assert webhooks.rotate_secret(connection, mine, endpoint.id, KEYS, timedelta()) is None
        assert webhooks.page(connection, mine, after=None, limit=9).endpoints == ()
    assert find(world, theirs, endpoint) == endpoint


def test_only_endpoints_that_want_the_event_get_a_delivery(world: World) -> None:
    tenant, other = world.tenant("one"), world.tenant("two")
    wanting = register(world, tenant, [EventType.VIDEO_COMPLETED])
    register(world, tenant, [EventType.VIDEO_FAILED])
    register(world, other)
    announce(world, tenant, State.COMPLETED)
    assert must_claim(world).endpoint_id == wanting.id
    assert claim(world) is None


def test_a_delivery_in_hand_is_not_due_and_a_delivered_one_never_again(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant)
    announce(world, tenant)
    with world.database.transaction_for_any_tenant() as connection:
        assert lanes.due_for_any_tenant(connection, 9) == 1
    delivery = must_claim(world)
    assert (delivery.fence, delivery.attempts) == (1, 1)
    assert claim(world) is None
    assert finish(world, delivery, OK, Delivered())
    assert states(world) == ["delivered"]
    assert rows(world, "SELECT attempt, fence, status, error, response, duration_ms FROM webhook_attempts") == [
        (1, 1, 200, None, "thanks", 5)
    ]
    with world.database.transaction_for_any_tenant() as connection:
        assert lanes.due_for_any_tenant(connection, 9) == 0


def test_a_retry_waits_for_its_time(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant)
    announce(world, tenant)
    assert finish(world, must_claim(world), ERROR, RetryIn(300))
    assert claim(world) is None
    [(wait,)] = rows(world, "SELECT extract(epoch FROM next_at - clock_timestamp()) FROM webhook_deliveries")
    assert 290 < wait <= 300
    assert finish_again(world) == 2


def finish_again(world: World) -> int:
    rows(world, "UPDATE webhook_deliveries SET next_at = clock_timestamp() RETURNING 1")
    again = must_claim(world)
    assert finish(world, again, ERROR, GivenUp())
    assert states(world) == ["failed"]
    return again.attempts


def test_after_its_lease_a_delivery_is_claimed_anew_and_the_late_finish_changes_nothing(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant)
    late = must_claim(world, lease_seconds=0.01)
    rows(world, "SELECT pg_sleep(0.02)")
    again = must_claim(world)
    assert (again.message_id, again.fence, again.attempts) == (late.message_id, late.fence + 1, 2)
    assert not finish(world, late, ERROR, GivenUp(gone=True))
    assert states(world) == ["pending"]
    assert rows(world, "SELECT 1 FROM webhook_attempts") == []
    assert find(world, tenant, endpoint) == endpoint
    assert finish(world, again, OK, Delivered())
    assert not finish(world, again, OK, Delivered())


def test_gone_disables_the_endpoint_until_it_is_updated(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, times=3)
    assert finish(world, must_claim(world), Attempt(5, 410, ErrorClass.HTTP), GivenUp(gone=True))
    assert states(world) == ["cancelled", "cancelled", "failed"]
    disabled = find(world, tenant, endpoint)
    assert disabled is not None
    assert disabled.disabled_at is not None
    announce(world, tenant)
    assert claim(world) is None
    with world.database.transaction(tenant) as connection:
        enabled = webhooks.update(connection, tenant, endpoint.id, Changes(url="https://example.com/hook"))
    assert enabled is not None
    assert enabled.disabled_at is None
    announce(world, tenant)
    assert must_claim(world).endpoint_id == endpoint.id


def test_a_deleted_endpoint_is_hidden_and_gets_nothing_more(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant, times=2)
    in_hand = must_claim(world)
    with world.database.transaction(tenant) as connection:
        assert webhooks.delete(connection, tenant, endpoint.id)
        assert not webhooks.delete(connection, tenant, endpoint.id)
    assert find(world, tenant, endpoint) is None
    assert claim(world) is None
    assert not finish(world, in_hand, OK, Delivered())
    announce(world, tenant)
    assert states(world) == ["cancelled", "cancelled"]


def test_a_message_stored_while_its_endpoint_was_deleted_is_cancelled_at_its_claim(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant)
    announce(world, tenant)
    rows(world, f"UPDATE webhook_endpoints SET deleted_at = now() WHERE id = '{endpoint.id}' RETURNING 1")  # noqa: S608 - our id
    assert claim(world) is None
    assert states(world) == ["cancelled"]


def test_a_delivery_that_no_worker_survives_ends(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant)
    announce(world, tenant)
    for attempts in range(1, 21):
        assert must_claim(world, lease_seconds=0).attempts == attempts
    assert claim(world) is None
    assert states(world) == ["failed"]


def test_one_endpoint_has_a_bounded_number_of_deliveries_in_flight(world: World) -> None:
    tenant = world.tenant()
    slow = register(world, tenant)
    announce(world, tenant, times=CONCURRENCY + 2)
    in_flight = [must_claim(world) for _ in range(CONCURRENCY)]
    assert {delivery.endpoint_id for delivery in in_flight} == {slow.id}
    assert claim(world) is None
    assert finish(world, in_flight[0], OK, Delivered())
    assert claim(world) is not None


def test_a_tenant_with_a_long_backlog_does_not_hold_others_up(world: World) -> None:
    flooding, modest = world.tenant("flooding"), world.tenant("modest")
    for _ in range(3):
        register(world, flooding)
    announce(world, flooding, times=5)
    register(world, modest)
    announce(world, modest)
    first, second = must_claim(world), must_claim(world)
    assert {first.tenant_id, second.tenant_id} == {flooding, modest}


def test_a_lone_worker_gives_every_tenant_its_turns(world: World) -> None:
    flooding, modest = world.tenant("flooding"), world.tenant("modest")
    register(world, flooding)
    announce(world, flooding, times=30)
    register(world, modest)
    announce(world, modest)
    served: list[UUID] = []
    while modest not in served:
        delivery = must_claim(world)
        assert finish(world, delivery, OK, Delivered())
        served.append(delivery.tenant_id)
    assert len(served) < 31, "served last: a chance of one in two to the thirtieth"


@pytest.mark.parametrize("response", [b"a\0b", b"\xff\xfe", "ü".encode()[:1], b""])
def test_any_bytes_of_an_answer_can_be_kept(world: World, response: bytes) -> None:
    tenant = world.tenant()
    register(world, tenant)
    announce(world, tenant)
    assert finish(world, must_claim(world), Attempt(1, 200, response=response), Delivered())


def test_an_unknown_endpoint_is_none(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction(tenant) as connection:
        assert webhooks.find(connection, tenant, new_id()) is None
