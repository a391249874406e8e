"""Webhooks under load: receivers that are ill do not slow one that is well, and a rotation breaks no signature."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
import standardwebhooks
from openai import OpenAI

from domain.lifecycle import State
from domain.webhooks import EventType, Pace
from runtime.settings import Settings, variable_of
from storage import announcements, webhooks
from storage.hints import DELIVER, Bell, Ringer, broker
from tests.fixtures.videos import World

ROOT = Path(__file__).parents[2]
EVENTS = 2_000
EVENTS_A_SECOND = 12.0
MESSAGES = 1_000
MESSAGES_A_SECOND = 50.0
BATCH = 10  # that are announced together
ROTATIONS = (250, 500, 750)  # before these messages; with the first one, four secrets sign in the end


@dataclass
class Site:
    """A receiver: `answer` decides the status of each request, or does not come back."""

    answer: Callable[[Site], int]
    secret: str = ""
    seen: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # ids by what the event is about
    accepted: dict[str, float] = field(default_factory=dict[str, float])  # when it first said 200
    invalid: int = 0
    requests: int = 0
    well: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        at, data = time.monotonic(), json.loads(body)["data"]["id"]
        self.requests += 1
        try:
            standardwebhooks.Webhook(self.secret).verify(body, headers)
        except standardwebhooks.WebhookVerificationError:
            self.invalid += 1
        self.seen.setdefault(data, []).append(headers["webhook-id"])
        status = 200 if self.well.is_set() else self.answer(self)
        if status == 200:
            self.accepted.setdefault(data, at)
        return status


def healthy(_: Site) -> int:
    return 200


def flapping(_: Site) -> int:
    return random.choice((200, 500))


def hanging(site: Site) -> int:
    """Says nothing for longer than anybody waits, or until it is well."""
    site.well.wait(30)
    return 500


@contextmanager
def listening(site: Site) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = site.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A sender that gave up is part of the test."""

    server = Server(("127.0.0.1", 0), Handler)
    site.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield
    site.well.set()
    server.shutdown()
    server.server_close()


@contextmanager
def processes(settings: Settings, *commands: tuple[str, ...]) -> Iterator[None]:
    """Kinema's own processes, as containers run them."""
    environment = {variable_of(each.name): str(getattr(settings, each.name)) for each in fields(Settings)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", *command],
            cwd=ROOT,
            env={**os.environ, **environment, "KINEMA_LOG_LEVEL": "ERROR"},
            stdout=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        yield
        assert [process.poll() for process in started] == [None] * len(started)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(40)


def subscribe(world: World, tenant: UUID, site: Site, keys: dict[str, bytes], event_type: EventType) -> None:
    url = f"http://127.0.0.1:{site.port}/"
    with world.database.transaction(tenant) as connection:
        _, site.secret = webhooks.create(connection, tenant, name="n", url=url, event_types=[event_type], keys=keys)


def count(world: World, state: str) -> int:
    with world.database.transaction_for_any_tenant() as connection:
        query = sa.text("SELECT count(*) FROM webhook_deliveries WHERE state = :state")
        return connection.scalar(query, {"state": state}) or 0


def wait_for_a_worker(world: World) -> None:
    deadline = time.monotonic() + 60
    query = sa.text("SELECT count(*) FROM workers WHERE 'deliver' = ANY(queues)")
    while time.monotonic() < deadline:
        with world.database.transaction_for_any_tenant() as connection:
            if connection.scalar(query):
                return
        time.sleep(0.2)
    raise AssertionError("the deliver worker did not come up")


def finish_videos(world: World, tenant: UUID, ringer: Ringer) -> dict[str, float]:
    """Ends videos at an even pace; each is rung for as `publish` rings. Returns when each was committed."""
    ended: dict[str, float] = {}
    started = time.monotonic()
    for number in range(EVENTS):
        video = world.create(tenant)
        with world.database.transaction(tenant) as connection:
            announcements.announce_state(connection, tenant, video, State.COMPLETED)
        ended[f"video_{video.hex}"] = time.monotonic()
        ringer.want(DELIVER)
        time.sleep(max(0.0, started + (number + 1) / EVENTS_A_SECOND - time.monotonic()))
    return ended


def let_time_pass(world: World) -> None:
    """As if the retries' waits and the breakers' pauses were over."""
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(
            sa.text("UPDATE webhook_endpoints SET open_until = clock_timestamp() WHERE open_until > now()")
        )
        connection.execute(
            sa.text(
                "UPDATE webhook_deliveries SET next_at = clock_timestamp()"
                " WHERE state = 'pending' AND lease_until IS NULL AND next_at > clock_timestamp()"
            )
        )


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_failing_and_a_hanging_receiver_do_not_delay_a_healthy_one(world: World, settings: Settings) -> None:
    settings = replace(settings, webhook_allow_loopback=True)
    tenant, ringer = world.tenant(), Ringer(Bell(broker(settings.redis_url)))
    sites = [Site(healthy), Site(flapping), Site(hanging)]
    well, failing, silent = sites
    with (
        listening(well),
        listening(failing),
        listening(silent),
        processes(settings, ("worker", "--queue", "deliver"), ("dispatcher",)),
    ):
        for site in sites:
            subscribe(world, tenant, site, settings.webhook_keys, EventType.VIDEO_COMPLETED)
        wait_for_a_worker(world)
        ended = finish_videos(world, tenant, ringer)
        time.sleep(2)
        latencies = [well.accepted[video] - ended[video] for video in ended if video in well.accepted]
        before = [len(site.accepted) for site in sites]
        for site in sites:
            site.well.set()
        recovered, deadline = time.monotonic(), time.monotonic() + 300
        while count(world, "pending") and time.monotonic() < deadline:
            let_time_pass(world)
            time.sleep(1)
        took = time.monotonic() - recovered
    ringer.stop()
    p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
    print(
        f"{EVENTS} events at {EVENTS_A_SECOND:g}/s to three receivers: healthy p50 {p50 * 1000:.0f} ms,"
        f" p95 {p95 * 1000:.0f} ms, max {max(latencies) * 1000:.0f} ms;"
        f" accepted before the recovery: {before}; requests: {[site.requests for site in sites]};"
        f" the rest {took:.0f} s after it"
    )
    assert len(latencies) == EVENTS, "the healthy one has everything before the others recover"
    assert p95 <= 1.0
    assert (count(world, "delivered"), count(world, "pending"), count(world, "failed")) == (3 * EVENTS, 0, 0)
    assert [len(site.accepted) for site in sites] == [EVENTS] * 3
    assert [site.invalid for site in sites] == [0, 0, 0]
    assert all(len(set(ids)) == 1 for site in sites for ids in site.seen.values()), "ids are stable"
    assert well.requests == EVENTS, "and what a healthy one accepted never comes again"
    assert failing.requests > EVENTS


@dataclass
class Recorder(Site):
    """Accepts everything and keeps it, to be verified afterwards."""

    arrivals: list[tuple[bytes, dict[str, str]]] = field(default_factory=list[tuple[bytes, dict[str, str]]])

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        self.arrivals.append((body, headers))
        return 200


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rotating_the_secret_under_load_breaks_no_signature(world: World, settings: Settings) -> None:
    settings = replace(settings, webhook_allow_loopback=True)
    ringer, keys = Ringer(Bell(broker(settings.redis_url))), settings.webhook_keys
    tenant, site = world.tenant(), Recorder(healthy)
    announced: dict[str, float] = {}
    with listening(site), processes(settings, ("worker", "--queue", "deliver"), ("dispatcher",)):
        url, pace = f"http://127.0.0.1:{site.port}/", Pace(concurrency=16)
        with world.database.transaction(tenant) as connection:
            endpoint, first = webhooks.create(
                connection, tenant, name="n", url=url, event_types=[EventType.BATCH_COMPLETED], keys=keys, pace=pace
            )
        known = {first: 0.0}  # each secret, and since when its owner has it
        wait_for_a_worker(world)
        started = time.monotonic()
        for number in range(0, MESSAGES, BATCH):
            if number in ROTATIONS:
                with world.database.transaction(tenant) as connection:
                    rotated = webhooks.rotate_secret(connection, tenant, endpoint.id, keys, timedelta(hours=1))
                assert rotated is not None
                known[rotated[1]] = time.monotonic()
            batch = [f"batch_{each}" for each in range(number, number + BATCH)]
            announced.update(dict.fromkeys(batch, time.monotonic()))
            with world.database.transaction(tenant) as connection:
                for each in batch:
                    announcements.announce(connection, tenant, EventType.BATCH_COMPLETED, each)
            ringer.want(DELIVER)
            time.sleep(max(0.0, started + (number + BATCH) / MESSAGES_A_SECOND - time.monotonic()))
        rate = MESSAGES / (time.monotonic() - started)
        while count(world, "pending") and time.monotonic() - started < 180:
            time.sleep(0.1)
    ringer.stop()
    checks = failures = 0
    for body, headers in site.arrivals:
        at = announced[json.loads(body)["data"]["id"]]
        checked = [verifies(body, headers, secret) for secret, since in known.items() if since <= at]
        checks, failures = checks + len(checked), failures + checked.count(False)
    several = sum(" " in headers["webhook-signature"] for _, headers in site.arrivals)
    print(
        f"{MESSAGES} messages at {rate:.0f}/s through {len(ROTATIONS)} rotations: {several} with several signatures,"
        f" {checks} checks with the secrets of their time, {failures} failures"
    )
    assert len(site.arrivals) == len({headers["webhook-id"] for _, headers in site.arrivals}) == MESSAGES
    assert failures == 0
    assert checks == MESSAGES + sum(MESSAGES - number for number in ROTATIONS)
    assert several >= MESSAGES - ROTATIONS[0]
    assert rate > 0.8 * MESSAGES_A_SECOND


_client = OpenAI(api_key="unused", base_url="http://127.0.0.1:1/v1")


def verifies(body: bytes, headers: dict[str, str], secret: str) -> bool:
    """With the reference library and with OpenAI's client."""
    try:
        standardwebhooks.Webhook(secret).verify(body, headers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _client.webhooks.unwrap(body, headers, secret=secret)
    except Exception:  # noqa: BLE001 - whatever it is, it is no verification
        return False
    return True
