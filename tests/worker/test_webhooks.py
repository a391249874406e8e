from __future__ import annotations

import secrets
import threading
import time
import warnings
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from openai import OpenAI

from domain.lifecycle import Stage
from domain.webhooks import ENDS
from storage import deliveries, endpoint_secrets, webhooks
from storage.database import Database
from storage.lifecycle import State
from storage.secrets import unseal
from tests.fixtures.receiver import Received, raw_server, receiver
from tests.fixtures.videos import World
from worker.webhooks import Turns, deliver_due

KEYS = {"1": secrets.token_bytes(32)}
client = OpenAI(api_key="unused", base_url="http://127.0.0.1:1/v1")


def register(world: World, tenant: UUID, url: str) -> str:
    """An endpoint for every end; returns its secret."""
    with world.database.transaction(tenant) as connection:
        _, secret = webhooks.create(connection, tenant, name="n", url=url, event_types=tuple(ENDS), keys=KEYS)
    return secret


def end_a_video(world: World, tenant: UUID) -> UUID:
    """Through the three stages to its end, which announces itself."""
    video = world.create(tenant)
    for stage in Stage:
        world.advance(stage)
    return video


def deliver(world: World, **options: Any) -> int:
    return deliver_due(world.database, KEYS, **{"allow_loopback": True, "total_seconds": 5.0, **options})


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    with world.database.transaction_for_any_tenant() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def make_due(world: World) -> None:
    rows(world, "UPDATE webhook_deliveries SET next_at = clock_timestamp() - interval '1 s' RETURNING 1")


def unwrap(request: Received, secret: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client knows no class for video events; fields are what counts
        return client.webhooks.unwrap(request.body, request.headers, secret=secret)


def test_a_finished_video_is_announced_once_and_the_openai_client_verifies_it(world: World) -> None:
    tenant = world.tenant()
    with receiver() as there:
        secret = register(world, tenant, there.url("/hook?x=1"))
        video = end_a_video(world, tenant)
        assert deliver(world) == 1
        assert deliver(world) == 0
    [request] = there.requests
    event = unwrap(request, secret)
    assert (event.type, event.data.id) == ("video.completed", f"video_{video.hex}")
    assert request.path == "/hook?x=1"
    assert request.headers["webhook-id"] == event.id
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Kinema")
    assert rows(world, "SELECT state, attempts FROM webhook_deliveries") == [("delivered", 1)]


def test_a_video_that_fails_is_announced_as_failed(world: World) -> None:
    tenant = world.tenant()
    with receiver() as there:
        secret = register(world, tenant, there.url())
        world.create(tenant)
        assert world.move(world.must_claim(Stage.SCREEN), State.BLOCKED, error_code="moderation_blocked")
        assert deliver(world) == 1
    assert unwrap(there.requests[0], secret).type == "video.failed"


def test_a_retry_carries_the_same_id_and_a_fresh_signature(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = world.tenant()
    with receiver((500, {}, b"broken"), (302, {"location": "/elsewhere"}, b"")) as there:
        secret = register(world, tenant, there.url())
        end_a_video(world, tenant)
        assert deliver(world) == 1, "not due again before its time"
        make_due(world)
        assert deliver(world) == 1
        make_due(world)
        now = time.time()
        with monkeypatch.context() as later:
            later.setattr("runtime.webhooks.time.time", lambda: now + 200)
            assert deliver(world) == 1
    assert len({request.headers["webhook-id"] for request in there.requests}) == 1
    assert len({request.body for request in there.requests}) == 1
    assert int(there.requests[2].headers["webhook-timestamp"]) == int(now + 200)
    assert {unwrap(request, secret).type for request in there.requests} == {"video.completed"}
    assert rows(world, "SELECT attempt, status, error, response FROM webhook_attempts ORDER BY attempt") == [
        (1, 500, "E_HTTP", "broken"),
        (2, 302, "E_HTTP", None),
        (3, 200, None, "thanks"),
    ]


def wait_for_next(world: World) -> float:
    [(seconds,)] = rows(world, "SELECT extract(epoch FROM next_at - clock_timestamp()) FROM webhook_deliveries")
    return float(seconds)


@pytest.mark.parametrize(
    ("answer", "least", "most"),
    [
        ((500, {}, b""), 3, 6),
        ((429, {}, b""), 59, 60),
        ((502, {}, b""), 59, 60),
        ((503, {"retry-after": "900"}, b""), 899, 900),
        ((503, {"retry-after": "999999"}, b""), 3599, 3600),
    ],
)
def test_the_next_attempt_comes_when_the_answer_says(world: World, answer: Any, least: float, most: float) -> None:
    tenant = world.tenant()
    with receiver(answer) as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        deliver(world)
    assert least < wait_for_next(world) <= most


def test_a_receiver_that_hangs_is_left_alone_for_a_minute(world: World) -> None:
    tenant = world.tenant()
    with raw_server(lambda connection: time.sleep(1) or connection.close()) as there:
        register(world, tenant, f"http://127.0.0.1:{there.port}/")
        end_a_video(world, tenant)
        deliver(world, total_seconds=0.3)
    assert rows(world, "SELECT status, error FROM webhook_attempts") == [(None, "E_TIMEOUT")]
    assert 59 < wait_for_next(world) <= 60


def test_410_stops_everything_to_the_endpoint(world: World) -> None:
    tenant = world.tenant()
    with receiver((410, {}, b"")) as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        end_a_video(world, tenant)
        assert deliver(world) == 1
        end_a_video(world, tenant)
        assert deliver(world) == 0
        assert len(there.requests) == 1
    assert rows(world, "SELECT disabled_at IS NOT NULL FROM webhook_endpoints") == [(True,)]
    assert sorted(rows(world, "SELECT state FROM webhook_deliveries")) == [("cancelled",), ("cancelled",), ("failed",)]


def test_ten_attempts_use_a_delivery_up(world: World) -> None:
    tenant = world.tenant()
    with receiver(*[(500, {}, b"")] * 20) as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        for _ in range(12):
            deliver(world)
            make_due(world)
    assert len(there.requests) == 10
    assert rows(world, "SELECT state, attempts FROM webhook_deliveries") == [("failed", 10)]


def test_without_leave_loopback_is_refused_and_nothing_is_sent(world: World) -> None:
    tenant = world.tenant()
    with receiver() as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        assert deliver(world, allow_loopback=False) == 1
    assert there.requests == []
    assert rows(world, "SELECT status, error FROM webhook_attempts") == [(None, "E_TARGET")]


def test_an_unreadable_secret_sends_nothing_and_is_tried_again(world: World) -> None:
    tenant = world.tenant()
    with receiver() as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        assert deliver_due(world.database, {"2": secrets.token_bytes(32)}, allow_loopback=True) == 1
        assert there.requests == []
        make_due(world)
        assert deliver(world) == 1
        assert len(there.requests) == 1
    assert rows(world, "SELECT error FROM webhook_attempts ORDER BY attempt") == [("E_SECRET",), (None,)]


def test_what_a_dead_worker_held_is_sent_under_the_same_id_when_its_lease_ends(world: World) -> None:
    tenant = world.tenant()
    with receiver() as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        with world.database.transaction_for_any_tenant() as connection:
            held = deliveries.claim_delivery_for_any_tenant(connection, 0.5)
        assert held is not None
        assert deliver(world) == 0, "still leased"
        time.sleep(0.6)
        assert deliver(world) == 1
    assert [request.headers["webhook-id"] for request in there.requests] == [held.public_id]
    assert rows(world, "SELECT state, attempts, fence FROM webhook_deliveries") == [("delivered", 2, 2)]


def test_many_threads_deliver_every_message_exactly_once(world: World) -> None:
    tenants = [world.tenant(f"t{n}") for n in range(3)]
    with receiver() as there:
        for tenant in tenants:
            register(world, tenant, there.url())
            for _ in range(8):
                end_a_video(world, tenant)
        counts: list[int] = []
        threads = [threading.Thread(target=lambda: counts.append(deliver(world))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while left := deliver(world):  # a thread leaves when all that is due waits for an endpoint's bound
            counts.append(left)
    assert sum(counts) == 24
    assert len({request.headers["webhook-id"] for request in there.requests}) == len(there.requests) == 24
    assert rows(world, "SELECT DISTINCT state, attempts FROM webhook_deliveries") == [("delivered", 1)]


def test_a_database_without_a_free_connection_ends_the_loop_quietly(
    world: World, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = world.tenant()
    crowded = Database(database_url, pool_size=1)
    with receiver() as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        with crowded.engine.connect():
            assert deliver_due(crowded, KEYS, allow_loopback=True) == 0
        assert there.requests == []
        assert deliver_due(crowded, KEYS, allow_loopback=True) == 1, "it is still due"
    crowded.close()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "deliveries wait: the database does not answer"
    ]


def test_a_delivery_that_cannot_be_written_down_is_sent_again(world: World, owner_url: str) -> None:
    tenant = world.tenant()
    engine = sa.create_engine(owner_url, poolclass=sa.NullPool)
    with receiver() as there, engine.connect() as owner:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        owner.execute(sa.text("LOCK TABLE webhook_attempts IN ACCESS EXCLUSIVE MODE"))
        assert deliver(world, lease_seconds=2.0) == 0
        owner.rollback()
        time.sleep(0.1)
        assert deliver(world) == 1
    assert len({request.headers["webhook-id"] for request in there.requests}) == 1
    assert rows(world, "SELECT state, attempts FROM webhook_deliveries") == [("delivered", 2)]


def test_a_delivery_that_ends_in_an_error_of_its_own_does_not_end_the_loop(
    world: World, owner_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = world.tenant()
    engine = sa.create_engine(owner_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with receiver((503, {}, b"")) as there, engine.connect() as owner:
        register(world, tenant, there.url())
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        owner.execute(sa.text("ALTER TABLE webhook_attempts ADD CONSTRAINT t CHECK (status <> 503)"))
        try:
            assert deliver(world) == 1
        finally:
            owner.execute(sa.text("ALTER TABLE webhook_attempts DROP CONSTRAINT t"))
    assert sorted(rows(world, "SELECT state FROM webhook_deliveries")) == [("delivered",), ("pending",)]
    assert "a webhook cannot be delivered" in caplog.messages


def test_a_drain_ends_the_loop_after_the_delivery_in_hand(world: World) -> None:
    tenant = world.tenant()
    with receiver() as there:
        register(world, tenant, there.url())
        end_a_video(world, tenant)
        end_a_video(world, tenant)
        go = iter([True, False])
        assert deliver(world, keep_going=lambda: next(go)) == 1
    assert len(there.requests) == 1


def test_who_waited_while_another_found_nothing_does_not_look_again() -> None:
    turns, looks, first, go = Turns(), [], threading.Event(), threading.Event()

    def nothing() -> None:
        looks.append(1)
        first.set()
        assert go.wait(5)

    threads = [threading.Thread(target=turns.claim, args=(nothing,)) for _ in range(5)]
    threads[0].start()
    assert first.wait(5)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.2)  # they wait; what they came for may have been stored after the first one looked
    go.set()
    for thread in threads:
        thread.join()
    assert len(looks) == 2, "the first, and one for all who came while it was looking"


def test_a_url_of_a_request_is_sent_to_and_signed_with_a_secret_made_for_it(world: World) -> None:
    tenant = world.tenant()
    with receiver((500, {}, b"")) as there:
        video = world.create(tenant)
        rows(world, f'UPDATE videos SET request = request || \'{{"webhook_url": "{there.url("/x")}"}}\' RETURNING 1')  # noqa: S608 - our own names
        assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
        assert deliver(world) == 1
        make_due(world)
        assert deliver(world) == 1
    with world.database.transaction(tenant) as connection:
        default = endpoint_secrets.default(connection, tenant, KEYS)
    secret = unseal(default.secret, KEYS, default.owner)
    events = [unwrap(request, secret) for request in there.requests]
    assert [event.data.id for event in events] == [f"video_{video.hex}"] * 2
    assert events[0].id == events[1].id
    assert {request.path for request in there.requests} == {"/x"}


def test_an_origin_of_requests_that_says_410_ends_that_delivery_only(world: World) -> None:
    tenant = world.tenant()
    with receiver((410, {}, b"")) as there:
        for _ in range(2):
            world.create(tenant)
            rows(world, f'UPDATE videos SET request = request || \'{{"webhook_url": "{there.url()}"}}\' RETURNING 1')  # noqa: S608 - our own names
            assert world.move(world.must_claim(Stage.SCREEN), State.FAILED)
        assert deliver(world) == 2
    assert sorted(rows(world, "SELECT state FROM webhook_deliveries")) == [("delivered",), ("failed",)]
    assert rows(world, "SELECT 1 FROM webhook_endpoints WHERE disabled_at IS NOT NULL") == []


def test_a_pause_is_logged_for_the_operator(world: World, caplog: pytest.LogCaptureFixture) -> None:
    tenant = world.tenant()
    with receiver(*[(500, {}, b"")] * 12) as there:
        register(world, tenant, there.url())
        for _ in range(12):
            end_a_video(world, tenant)
        assert deliver(world) == 10
        assert deliver(world) == 0
    assert len(there.requests) == 10, "what waits keeps its attempts"
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "a webhook endpoint is paused"
    ]
