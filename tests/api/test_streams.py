"""Progress streams: resumed exactly, ended by what ends them, bounded in what they cost."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api import progress, streams
from domain import ids
from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import leases, workers
from storage.database import Database
from storage.lifecycle import Move, move
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.api.sse import Live, Sent, address, events, serving, signed
from tests.api.stages import bring
from tests.fixtures.videos import World

MAIN_ROAD = ["received", "screening", "queued", "rendering", "rendered", "publishing"]


@pytest.fixture
def live(settings: Settings) -> Iterator[Live]:
    with serving(settings) as server:
        yield server


@pytest.fixture
def video_id(world: World, tenant: Tenant) -> str:
    return ids.public(ids.Kind.VIDEO, world.create(tenant.id))


def read(app: TestClient, tenant: Tenant, video_id: str, **headers: str) -> list[Sent]:
    answer = app.get(f"/v1/videos/{video_id}/events", headers=signed(tenant, headers))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return list(events(answer.iter_lines()))


def test_a_finished_video_sends_its_history_and_ends_with_the_whole_object(
    app: TestClient, world: World, tenant: Tenant, video_id: str, object_store: ObjectStore
) -> None:
    bring(world, State.COMPLETED, object_store)
    *before, last = read(app, tenant, video_id)
    assert [(event.type, event.data["stage"]) for event in before] == [("video.stage", stage) for stage in MAIN_ROAD]
    assert [event.id for event in before] == ["1", "2", "3", "4", "5", "6"]
    assert {event.data["status"] for event in before} == {"queued", "in_progress"}
    assert (last.type, last.id) == ("video.completed", "7")
    assert last.data == app.get(f"/v1/videos/{video_id}", headers=signed(tenant, {})).json()


def test_a_failed_video_ends_with_its_error(app: TestClient, world: World, tenant: Tenant, video_id: str) -> None:
    bring(world, State.BLOCKED)
    last = read(app, tenant, video_id)[-1]
    assert (last.type, last.data["error"]["code"]) == ("video.failed", "moderation_blocked")


def test_a_stream_goes_on_after_the_last_event_that_came(
    app: TestClient, world: World, tenant: Tenant, video_id: str, object_store: ObjectStore
) -> None:
    bring(world, State.COMPLETED, object_store)
    for known in range(7):
        position = {"last-event-id": str(known)}
        ways = [("", position), (f"?after={known}", {}), ("?after=2", position)]
        query, headers = ways[known % 3]
        answer = app.get(f"/v1/videos/{video_id}/events{query}", headers=signed(tenant, headers))
        assert [event.id for event in events(answer.iter_lines())] == [str(seq) for seq in range(known + 1, 8)]


def test_who_knows_the_end_is_told_not_to_come_back(
    app: TestClient, world: World, tenant: Tenant, video_id: str, object_store: ObjectStore
) -> None:
    bring(world, State.COMPLETED, object_store)
    for known in ("7", "99"):
        answer = app.get(f"/v1/videos/{video_id}/events", headers=signed(tenant, {"last-event-id": known}))
        assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("known", ["x", "-1", "1.5", "9" * 30])
def test_a_malformed_position_is_refused(app: TestClient, tenant: Tenant, video_id: str, known: str) -> None:
    answer = app.get(f"/v1/videos/{video_id}/events", headers=signed(tenant, {"last-event-id": known}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "last-event-id")


def test_another_tenants_video_has_no_stream(
    app: TestClient, new_tenant: Callable[[str], Tenant], video_id: str
) -> None:
    for path in (video_id, "video_unknown", ids.public(ids.Kind.VIDEO, ids.new_id())):
        answer = app.get(f"/v1/videos/{path}/events", headers=signed(new_tenant("bob"), {}))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "video_not_found")


def test_stages_and_progress_arrive_as_they_happen(live: Live, world: World, tenant: Tenant, video_id: str) -> None:
    with live.stream(tenant, video_id) as answer:
        sent = events(answer.iter_lines())
        assert next(sent) == Sent("video.stage", next_stage(video_id, "received", 1, sent_at(world, tenant)), "1")
        assert next(sent).data == {
            "id": video_id,
            "status": "queued",
            "stage": "received",
            "progress": 0,
            "queue_position": None,
        }
        world.advance(Stage.SCREEN)
        lease = world.must_claim(Stage.RENDER)
        heard = [next(sent) for _ in range(4)]
        assert [event.data["stage"] for event in heard if event.id] == ["screening", "queued", "rendering"]
        with world.database.transaction(tenant.id) as connection:
            assert leases.renew(connection, lease, 30, 42, {"phase": "denoise", "done": 1, "total": 2})
        halfway = next(sent)
        assert (halfway.type, halfway.id, halfway.data["progress"]) == ("video.progress", None, 42)
        world.move(lease, State.FAILED, error_code="render_failed")
        end = next(sent)
        assert (end.type, end.data["status"], end.data["error"]["code"]) == ("video.failed", "failed", "render_failed")
        assert list(sent) == [], "the stream is over"
    live.wait_for_streams(0)


def next_stage(video_id: str, stage: str, sequence: int, at: int) -> dict[str, Any]:
    return {"id": video_id, "status": "queued", "stage": stage, "sequence": sequence, "at": at}


def sent_at(world: World, tenant: Tenant) -> int:
    with world.database.transaction(tenant.id) as connection:
        return int(connection.scalar(sa.text("SELECT extract(epoch FROM min(at)) FROM events")))


def test_a_deleted_video_ends_its_stream(live: Live, app: TestClient, tenant: Tenant, video_id: str) -> None:
    with live.stream(tenant, video_id) as answer:
        sent = events(answer.iter_lines())
        next(sent)
        assert app.delete(f"/v1/videos/{video_id}", headers=signed(tenant, {})).status_code == 200
        *_, last = sent
    assert (last.type, last.data) == (
        "video.deleted",
        {"id": video_id, "object": "video.deleted", "deleted": True},
    )


def test_a_revoked_keys_stream_ends(live: Live, world: World, tenant: Tenant, video_id: str) -> None:
    with live.stream(tenant, video_id) as answer:
        sent = events(answer.iter_lines())
        next(sent)
        with world.database.transaction_for_any_tenant() as connection:
            connection.execute(
                sa.text("UPDATE api_keys SET revoked_at = now() WHERE tenant_id = :id"), {"id": tenant.id}
            )
        started = time.monotonic()
        assert {event.type for event in sent} <= {"video.progress"}
        assert time.monotonic() - started < 5


def test_a_stopping_server_lets_go_at_once_and_another_goes_on_exactly_there(
    settings: Settings, world: World, tenant: Tenant, video_id: str
) -> None:
    heard: list[Sent] = []
    with serving(settings) as first, first.stream(tenant, video_id) as answer:
        sent = events(answer.iter_lines())
        heard += [next(sent), next(sent)]
        world.advance(Stage.SCREEN)
        heard += [next(sent), next(sent)]
        first.server.should_exit = True
        started = time.monotonic()
        heard += sent
        assert time.monotonic() - started < 2
    world.advance(Stage.RENDER)  # while nobody listens
    last = max(int(event.id) for event in heard if event.id)
    with serving(settings) as second, second.stream(tenant, video_id, last_event_id=str(last)) as answer:
        sent = events(answer.iter_lines())
        heard += [next(sent), next(sent)]
        lease = world.must_claim(Stage.PUBLISH)
        world.move(lease, State.FAILED, error_code="publish_failed")
        heard += sent
    assert [event.id for event in heard if event.id] == ["1", "2", "3", "4", "5", "6", "7"]
    assert heard[-1].type == "video.failed"


def test_a_tenant_may_open_so_many_and_no_more(
    live: Live, world: World, tenant: Tenant, new_tenant: Callable[[str], Tenant], video_id: str
) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text("UPDATE tenants SET streams = 2 WHERE id = :id"), {"id": tenant.id})
    with live.stream(tenant, video_id) as first, live.stream(tenant, video_id) as second:
        assert (first.status_code, second.status_code) == (200, 200)
        with live.stream(tenant, video_id) as third:
            third.read()
            assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert int(third.headers["retry-after"]) >= 1
        bob = new_tenant("bob")
        theirs = ids.public(ids.Kind.VIDEO, world.create(bob.id))
        with live.stream(bob, theirs) as other:
            assert other.status_code == 200
    live.wait_for_streams(0, seconds=2)
    with live.stream(tenant, video_id) as again:
        assert again.status_code == 200


def test_a_process_may_have_so_many_and_no_more(
    live: Live, tenant: Tenant, video_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 1)
    with live.stream(tenant, video_id), live.stream(tenant, video_id) as second:
        second.read()
        assert (second.status_code, second.json()["error"]["code"]) == (503, "unavailable")


def test_silence_is_filled_with_comments(
    live: Live, tenant: Tenant, video_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.1)
    with live.stream(tenant, video_id) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        assert ": waiting" in [next(lines) for _ in range(20)]


def test_a_client_that_reads_nothing_is_given_up_and_holds_nobody_up(
    live: Live, tenant: Tenant, video_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.0005)
    monkeypatch.setattr(progress, "format_sse_event", lambda **_: b":" + b" " * 65_536 + b"\n\n")
    host, _, port = live.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        path = address("", video_id)
        silent.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {tenant.key}\r\n\r\n".encode())
        live.wait_for_streams(1)
        answer = httpx.get(f"{live.url}/v1/videos", headers=signed(tenant, {}), trust_env=False)
        assert answer.status_code == 200
        live.wait_for_streams(0)


def test_an_outage_delays_the_news_and_ends_no_stream(
    live: Live, world: World, tenant: Tenant, video_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = streams.Streams._read_positions
    broken = threading.Event()

    def read_or_fail(self: streams.Streams, *arguments: Any) -> Any:
        if broken.is_set():
            raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))
        return plain(self, *arguments)

    monkeypatch.setattr(streams.Streams, "_read_positions", read_or_fail)
    with live.stream(tenant, video_id) as answer:
        sent = events(answer.iter_lines())
        assert [next(sent).type, next(sent).type] == ["video.stage", "video.progress"]
        broken.set()
        world.advance(Stage.SCREEN)
        time.sleep(1)
        broken.clear()
        assert [next(sent).id for _ in range(2)] == ["2", "3"]


def test_who_waits_is_told_how_many_go_first(live: Live, world: World, tenant: Tenant) -> None:
    first, second = (world.create(tenant.id) for _ in range(2))
    with live.stream(tenant, ids.public(ids.Kind.VIDEO, second)) as answer:
        sent = events(answer.iter_lines())
        assert next(sent).data["stage"] == "received"
        with world.database.transaction_for_any_tenant() as connection:
            workers.snapshot_for_any_tenant(connection, "render.small")

        def position() -> int:
            return next(each for each in (event.data.get("queue_position") for event in sent) if each is not None)

        assert position() == 1
        change = Move(tenant.id, first, State.RECEIVED, State.CANCELLED, 0)
        with world.database.transaction(tenant.id) as connection:
            assert move(connection, change)
        assert position() == 0


def test_five_hundred_streams_cost_one_question_at_a_time(
    settings: Settings, world: World, database: Database, new_tenant: Callable[[str], Tenant]
) -> None:
    most = min(500, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
    crowd = new_tenant("crowd")
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text("UPDATE tenants SET streams = 500 WHERE id = :id"), {"id": crowd.id})
    names = [ids.public(ids.Kind.VIDEO, world.create(crowd.id)) for _ in range(50)]
    with serving(settings) as live, ExitStack() as stack:
        host, _, port = live.url.removeprefix("http://").partition(":")
        request = "GET {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n"
        sockets = [stack.enter_context(socket.create_connection((host, int(port)), 20)) for _ in range(most)]
        for number, each in enumerate(sockets):
            each.sendall(request.format(address("", names[number % 50]), crowd.key).encode())
        live.wait_for_streams(most, seconds=30)
        looks: list[float] = []
        engine = live.app.state.services.database.engine
        sa.event.listen(engine, "begin", lambda _: looks.append(time.monotonic()))
        pool, threads = engine.pool, threading.active_count()
        time.sleep(3)
        assert len(looks) <= 20, "so many questions in three seconds, whatever the number of streams"
        assert pool.checkedout() <= 1
        assert threads <= 60, "no stream holds a thread"
        moved = [world.advance(Stage.SCREEN).video_id for _ in range(50)]
        assert len(set(moved)) == 50
        for each in sockets:
            heard = b""
            while b"id: 3\n" not in heard:
                heard += each.recv(65_536)
    assert len(database.engine.pool.status()) > 0
