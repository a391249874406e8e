"""The first answer is lost at random, the official client tries again: one video and one charge for each request."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from openai import DefaultHttpxClient, OpenAI

from runtime.settings import Settings
from storage.database import Database
from storage.tables import ledger, videos
from tests.api.conftest import Tenant
from tests.api.sse import serving
from tests.fixtures.severing import LOSSES, Fate, Proxy, first_try, severing

CREATES = 200
TWINS = [{"prompt": f"bars {n}"} for n in range(50) for _ in range(2)]
AT_ONCE = 8
KILLED = 0.6  # of all first answers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@contextmanager
def unreliable(settings: Settings, seed: int) -> Iterator[Proxy]:
    """A served API behind a proxy that loses first answers in all three ways."""
    draw, lock = random.Random(seed), threading.Lock()

    def choose(_method: str, headers: Mapping[str, str]) -> Fate:
        with lock:
            lost = first_try(headers) and draw.random() < KILLED
            return draw.choice(LOSSES) if lost else Fate.DELIVERED

    with serving(settings) as live, severing(live.url, choose) as proxy:
        yield proxy


@contextmanager
def client_of(tenant: Tenant, proxy: Proxy) -> Iterator[OpenAI]:
    """The client as it comes, with the two retries that it makes by itself, and no connection kept."""
    limits = httpx.Limits(max_keepalive_connections=0)
    with DefaultHttpxClient(trust_env=False, limits=limits) as http:
        yield OpenAI(api_key=tenant.key, base_url=proxy.url, http_client=http)


def create_all(client: OpenAI, requests: list[dict[str, Any]]) -> list[str]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda request: client.videos.create(**request).id, requests))


def held(database: Database, tenant: Tenant) -> tuple[int, int]:
    """Videos of the tenant, and entries that hold a price."""
    with database.transaction(tenant.id) as connection:
        stored = connection.scalar(sa.select(sa.func.count()).select_from(videos))
        holds = connection.scalar(sa.select(sa.func.count()).where(ledger.c.kind == "hold"))
    return stored or 0, holds or 0


@pytest.mark.parametrize("keyed", [True, False], ids=["with key", "without"])
def test_two_hundred_creates_are_two_hundred_videos(
    settings: Settings, tenant: Tenant, database: Database, *, keyed: bool
) -> None:
    requests = [
        {"prompt": f"bars {n}", "extra_headers": {"Idempotency-Key": f"request {n}"} if keyed else {}}
        for n in range(CREATES)
    ]
    with unreliable(settings, seed=int(keyed)) as proxy, client_of(tenant, proxy) as client:
        made = create_all(client, requests)
    print({fate.value: count for fate, count in proxy.fates.items()})
    assert min(proxy.fates[fate] for fate in LOSSES) >= CREATES / 10, "each way to lose an answer was tried"
    assert len(set(made)) == CREATES
    assert held(database, tenant) == (CREATES, CREATES)


def test_fifty_deliberate_twins_are_a_hundred_videos(settings: Settings, tenant: Tenant, database: Database) -> None:
    whole = partial(severing, choose=lambda *_: Fate.DELIVERED)
    with serving(settings) as live, whole(live.url) as proxy, client_of(tenant, proxy) as client:
        made = create_all(client, TWINS)
    assert len(set(made)) == len(TWINS)
    assert held(database, tenant) == (len(TWINS), len(TWINS))


def test_no_twin_is_lost_with_its_answer(settings: Settings, tenant: Tenant, database: Database) -> None:
    """Whose retry gets which of two unread twins nobody can tell without a key; that both exist, once, we can."""
    with unreliable(settings, seed=2) as proxy, client_of(tenant, proxy) as client:
        made = create_all(client, TWINS)
    assert len(made) == len(TWINS)
    assert held(database, tenant) == (len(TWINS), len(TWINS))
