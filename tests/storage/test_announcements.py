from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.errors import Conflict
from domain.lifecycle import Stage, State
from domain.video import Request
from domain.webhooks import EventType
from storage import announcements, deliveries, delivery_log, leases, webhooks
from storage.delivery_log import Span
from storage.forgetting import forget
from storage.lifecycle import Move, move
from storage.webhooks import Endpoint
from tests.fixtures.videos import World

KEYS = {"1": secrets.token_bytes(32)}
VIDEO = [event_type for event_type in EventType if event_type.startswith("video.")]


def register(world: World, tenant: UUID, types: Sequence[EventType]) -> Endpoint:
    with world.database.transaction(tenant) as connection:
        endpoint, _ = webhooks.create(
            connection, tenant, name="n", url="https://example.com/", event_types=types, keys=KEYS
        )
    return endpoint


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    with world.database.transaction_for_any_tenant() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def told(world: World) -> list[tuple[str, int]]:
    """Type and sequence of all messages in the order of their making, as receivers see them."""
    events = [json.loads(row[0]) for row in rows(world, "SELECT body FROM webhook_messages ORDER BY id")]
    return [(event["type"], event["data"]["sequence"]) for event in events]


def test_a_video_tells_its_whole_life_in_order(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant, VIDEO)
    video = world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    with world.database.transaction(tenant) as connection:
        assert leases.renew(connection, lease, 30, 40, None)
    assert world.move(lease, State.RENDERED)
    world.advance(Stage.PUBLISH)
    assert told(world) == [
        ("video.queued", 1),
        ("video.started", 2),
        ("video.progress", 3),
        ("video.completed", 4),
    ]
    [(body,)] = rows(world, "SELECT body FROM webhook_messages WHERE type = 'video.progress'")
    assert json.loads(body)["data"] == {"id": f"video_{video.hex}", "sequence": 3, "progress": 40}


def test_progress_is_told_every_five_seconds_at_most(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant, [EventType.VIDEO_PROGRESS])
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)

    def beat(percent: int) -> None:
        with world.database.transaction(tenant) as connection:
            assert leases.renew(connection, lease, 30, percent, None)

    for percent in (0, 10, 20, 30):
        beat(percent)
    assert told(world) == [("video.progress", 1)], "nothing before it moves, then one"
    rows(world, "UPDATE webhook_messages SET created_at = created_at - interval '5.1 s' RETURNING 1")
    beat(40)
    beat(50)
    assert told(world) == [("video.progress", 1), ("video.progress", 2)]


def test_nobody_subscribed_nothing_stored_but_the_end(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant, [EventType.BATCH_COMPLETED])
    world.queued(tenant)
    lease = world.must_claim(Stage.RENDER)
    with world.database.transaction(tenant) as connection:
        assert leases.renew(connection, lease, 30, 40, None)
    assert told(world) == []
    assert world.move(lease, State.FAILED, error_code="render_failed")
    assert told(world) == [("video.failed", 1)]
    assert rows(world, "SELECT 1 FROM webhook_deliveries") == []


@pytest.mark.parametrize(("state", "beside"), [(State.CANCELLED, "video.cancelled"), (State.BLOCKED, "video.blocked")])
def test_a_cancelled_or_blocked_video_says_so_before_it_says_that_it_failed(
    world: World, state: State, beside: str
) -> None:
    tenant = world.tenant()
    register(world, tenant, VIDEO)
    world.create(tenant)
    assert world.move(world.must_claim(Stage.SCREEN), state)
    assert told(world) == [(beside, 1), ("video.failed", 2)], "the end has the highest number"


def test_the_database_refuses_a_second_end(world: World) -> None:
    tenant = world.tenant()
    video = world.create(tenant)
    assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
    with (
        pytest.raises(sa.exc.IntegrityError, match="webhook_messages_one_end"),
        world.database.transaction(tenant) as connection,
    ):
        announcements.announce_state(connection, tenant, video, State.COMPLETED)


def test_what_is_not_a_video_is_announced_by_its_public_id(world: World) -> None:
    tenant, other = world.tenant("one"), world.tenant("two")
    wanting = register(world, tenant, [EventType.BATCH_COMPLETED])
    register(world, other, [EventType.BATCH_COMPLETED])
    with world.database.transaction(tenant) as connection:
        assert announcements.announce(connection, tenant, EventType.BATCH_COMPLETED, "batch_1")
        assert not announcements.announce(connection, tenant, EventType.BATCH_FAILED, "batch_1")
    [(body, endpoint)] = rows(
        world,
        "SELECT body, endpoint_id FROM webhook_messages JOIN webhook_deliveries ON message_id = webhook_messages.id",
    )
    assert json.loads(body)["type"] == "batch.completed"
    assert json.loads(body)["data"] == {"id": "batch_1"}
    assert endpoint == wanting.id


def test_an_end_goes_to_the_url_of_the_request_too(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant, [EventType.VIDEO_FAILED])
    for path in ("/a?x=1", "/b"):
        ask_for(world, tenant, f"https://hooks.example.com{path}")
        world.create(tenant)
        ask_for(world, tenant, f"https://hooks.example.com{path}")
        assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
    assert rows(world, "SELECT kind, url FROM webhook_endpoints ORDER BY kind") == [
        ("registered", "https://example.com/"),
        ("request", "https://hooks.example.com:443"),
    ], "one row for the origin, so that its breaker counts for all of its paths"
    sent = rows(world, "SELECT endpoint_id, url FROM webhook_deliveries ORDER BY url NULLS LAST")
    assert [url for _, url in sent] == ["https://hooks.example.com/a?x=1", "https://hooks.example.com/b", None, None]
    assert [there == endpoint.id for there, _ in sent] == [False, False, True, True]


def ask_for(world: World, tenant: UUID, url: str) -> None:
    """As if the videos that still live had been asked for with this `webhook_url`."""
    with world.database.transaction(tenant) as connection:
        connection.execute(
            sa.text(
                "UPDATE videos SET request = request || jsonb_build_object('webhook_url', CAST(:url AS text))"
                " WHERE state = 'received'"
            ),
            {"url": url},
        )


def test_the_request_keeps_its_url_under_the_name_that_the_end_reads() -> None:
    assert "webhook_url" in set(Request.__dataclass_fields__)


def test_origins_of_requests_are_no_endpoints_of_the_tenant(world: World) -> None:
    tenant = world.tenant()
    world.create(tenant)
    ask_for(world, tenant, "https://hooks.example.com/")
    assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
    [(origin,)] = rows(world, "SELECT id FROM webhook_endpoints")
    with world.database.transaction(tenant) as connection:
        assert webhooks.page(connection, tenant, after=None, limit=9).endpoints == ()
        assert webhooks.find(connection, tenant, origin) is None
        assert not webhooks.delete(connection, tenant, origin)


def test_origins_beyond_the_limit_share_one_lane(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "ORIGINS", 2)
    tenant = world.tenant()
    for host in ("a", "b", "c", "d", "a"):
        world.create(tenant)
        ask_for(world, tenant, f"https://{host}.example.com/x")
        assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
    join = "webhook_endpoints e JOIN webhook_deliveries ON endpoint_id = e.id"
    lanes = rows(world, f"SELECT e.url, count(*) FROM {join} GROUP BY 1 ORDER BY 1")  # noqa: S608 - our own
    assert lanes == [("https://*", 2), ("https://a.example.com:443", 2), ("https://b.example.com:443", 1)]
    with world.database.transaction_for_any_tenant() as connection:
        claimed = [deliveries.claim_delivery_for_any_tenant(connection) for _ in range(5)]
    assert sorted(each.url for each in claimed if each) == sorted(
        f"https://{host}.example.com/x" for host in ("a", "a", "b", "c", "d")
    )


def test_a_delivery_whose_url_is_erased_goes_nowhere(world: World) -> None:
    tenant = world.tenant()
    video = world.create(tenant)
    ask_for(world, tenant, "https://hooks.example.com/secret-path")
    assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
    with world.database.transaction(tenant) as connection:
        assert forget(connection, tenant, video)
    [(message,)] = rows(world, "SELECT message_id FROM webhook_deliveries")
    with world.database.transaction(tenant) as connection:
        with pytest.raises(Conflict, match="erased"):
            delivery_log.resend(connection, tenant, None, message)
        everything = Span(
            datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1), ("cancelled",)
        )
        assert delivery_log.replay(connection, tenant, None, everything).scheduled == 0
    rows(world, "UPDATE webhook_deliveries SET state = 'pending', ready = true RETURNING 1")
    with world.database.transaction_for_any_tenant() as connection:
        assert deliveries.claim_delivery_for_any_tenant(connection) is None
    assert rows(world, "SELECT state FROM webhook_deliveries") == [("cancelled",)]


def test_a_deleted_video_announces_nothing(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant, VIDEO)
    video = world.create(tenant)
    with world.database.transaction(tenant) as connection:
        assert move(connection, Move(tenant, video, State.RECEIVED, State.CANCELLED, 0, announce=False))
    assert told(world) == []


def test_forgetting_a_video_erases_the_url_of_its_request_and_drops_what_waits_for_it(world: World) -> None:
    tenant = world.tenant()
    register(world, tenant, [EventType.VIDEO_FAILED])
    video = world.create(tenant)
    ask_for(world, tenant, "https://hooks.example.com/secret-path")
    assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
    with world.database.transaction(tenant) as connection:
        assert forget(connection, tenant, video)
    assert sorted(rows(world, "SELECT state, url FROM webhook_deliveries")) == [("cancelled", None), ("pending", None)]
