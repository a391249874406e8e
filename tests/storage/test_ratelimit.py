from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from redis.connection import parse_url

from domain.ids import new_id
from domain.ratelimit import Rule
from storage.ratelimit import ANSWER_SECONDS, Limiter
from tests.fixtures.wire import Wire, wire_to

REQUESTS = [Rule("requests", 5)]


@pytest.fixture
def limiter(redis_url: str) -> Iterator[Limiter]:
    made = Limiter(redis_url)
    yield made
    made.close()


@pytest.fixture
def wire(redis_url: str) -> Iterator[Wire]:
    at = parse_url(redis_url)
    with wire_to(at["host"], at["port"]) as wire:
        yield wire


@pytest.fixture
def behind(wire: Wire, redis_url: str) -> Iterator[Limiter]:
    """A limiter whose way to Valkey can be cut."""
    port = parse_url(redis_url)["port"]
    made = Limiter(redis_url.replace(f":{port}/", f":{wire.port}/"))
    yield made
    wire.flowing.set()
    made.close()


def test_so_many_are_let_in_and_no_more(limiter: Limiter) -> None:
    tenant = new_id()
    decisions = [limiter.hit(tenant, REQUESTS) for _ in range(7)]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 2
    assert [decision.standings[0].remaining for decision in decisions] == [4, 3, 2, 1, 0, 0, 0]
    assert 59 < decisions[-1].standings[0].retry_seconds <= 61
    assert 119 < decisions[-1].standings[0].resets_seconds <= 120
    assert limiter.hit(new_id(), REQUESTS).allowed, "another tenant has a count of its own"


def test_replicas_count_together(limiter: Limiter, redis_url: str) -> None:
    tenant, other = new_id(), Limiter(redis_url)
    with ThreadPoolExecutor(8) as pool:
        decided = list(pool.map(lambda number: (limiter, other)[number % 2].hit(tenant, REQUESTS), range(40)))
    other.close()
    assert sum(decision.allowed for decision in decided) == 5


def test_what_one_rule_refuses_counts_under_none(limiter: Limiter) -> None:
    tenant = new_id()
    both = [Rule("requests", 5), Rule("creates", 1)]
    assert limiter.hit(tenant, both).allowed
    for _ in range(3):
        decision = limiter.hit(tenant, both)
        assert not decision.allowed
        assert [each.remaining for each in decision.standings] == [4, 0]
    assert limiter.hit(tenant, REQUESTS).standings[0].remaining == 3


def test_the_window_slides(limiter: Limiter, redis_url: str) -> None:
    """Half of the last minute's requests still weigh when half of this minute is over."""
    tenant = new_id()
    for _ in range(5):
        limiter.hit(tenant, REQUESTS)
    key = f"kinema:rate:{{{tenant.hex}}}:requests"
    with redis.Redis.from_url(redis_url) as client:
        client.pexpire(key, 30_000)
    decision = limiter.hit(tenant, REQUESTS)
    assert decision.allowed
    assert decision.standings[0].remaining == 2, "5 * 29.9 / 60 = 2.49 and one"
    with redis.Redis.from_url(redis_url) as client:
        assert 80_000 < client.pttl(key) <= 90_000


def test_a_lowered_limit_applies_to_what_is_counted(limiter: Limiter) -> None:
    tenant = new_id()
    for _ in range(5):
        limiter.hit(tenant, REQUESTS)
    decision = limiter.hit(tenant, [Rule("requests", 2)])
    assert not decision.allowed
    assert decision.standings[0].retry_seconds > 60
    assert limiter.hit(tenant, [Rule("requests", 6)]).allowed


def test_both_rules_take_one_round_trip(behind: Limiter, wire: Wire) -> None:
    tenant = new_id()
    behind.hit(tenant, REQUESTS)
    asked = wire.asked
    for _ in range(10):
        behind.hit(tenant, [Rule("requests", 100), Rule("creates", 100)])
    assert wire.asked == asked + 10


def test_while_valkey_is_gone_the_process_counts_by_itself_and_nobody_waits(behind: Limiter, wire: Wire) -> None:
    assert behind.hit(new_id(), REQUESTS).allowed
    wire.cut()
    tenant = new_id()
    begun = time.perf_counter()
    decisions = [behind.hit(tenant, REQUESTS) for _ in range(50)]
    assert time.perf_counter() - begun < 2 * ANSWER_SECONDS
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 45
    assert [decision.standings[0].remaining for decision in decisions[:6]] == [4, 3, 2, 1, 0, 0]


def test_a_valkey_that_hangs_delays_nobody_for_long_and_few_at_all(behind: Limiter, wire: Wire) -> None:
    tenant = new_id()
    behind.hit(tenant, REQUESTS)
    wire.flowing.clear()

    def timed(_: int) -> float:
        begun = time.perf_counter()
        behind.hit(tenant, [Rule("requests", 1_000)])
        return time.perf_counter() - begun

    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(timed, range(8)))
    assert max(first) < 3 * ANSWER_SECONDS
    assert max(map(timed, range(200))) < ANSWER_SECONDS / 2, "nobody asks it again"


def test_a_valkey_that_is_back_counts_again(behind: Limiter, wire: Wire, redis_url: str) -> None:
    tenant = new_id()
    behind.hit(tenant, REQUESTS)
    wire.cut()
    behind.hit(tenant, REQUESTS)
    assert any(thread.name == "rate limiter" for thread in threading.enumerate())
    wire.mend()
    key = f"kinema:rate:{{{tenant.hex}}}:requests"
    deadline = time.monotonic() + 10
    with redis.Redis.from_url(redis_url) as client:
        while int(client.get(key) or 0) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            behind.hit(tenant, [Rule("requests", 1_000)])
