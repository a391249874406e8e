from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import OpenAI, RateLimitError

from api import errors
from domain.errors import QuotaExceeded, RateLimited
from domain.ledger import Meter
from domain.lifecycle import Stage
from domain.quotas import Period
from storage import ledger
from storage.tables import ledger as entries
from storage.tables import quotas
from tests.api.conftest import Tenant
from tests.fixtures.videos import World


def limit(world: World, tenant: Tenant, meter: Meter, amount: int, period: Period) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant.id, meter, amount, period)


def test_a_hundred_parallel_creates_at_the_last_units_accept_exactly_those(
    http: TestClient, tenant: Tenant, world: World
) -> None:
    limit(world, tenant, Meter.MICROS, 5 * 40_000, Period.MONTH)
    limit(world, tenant, Meter.VIDEO_MS, 1_000_000, Period.DAY)

    def create(number: int) -> int:
        return http.post("/v1/videos", json={"prompt": f"ball number {number}", "seconds": "4"}).status_code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(create, range(100)))
    assert sorted(answers) == [200] * 5 + [429] * 95
    with world.database.transaction(tenant.id) as connection:
        held = connection.execute(sa.select(sa.func.count(), sa.func.sum(entries.c.micros))).one()
        rows = connection.execute(sa.select(quotas.c.meter, quotas.c.held, quotas.c.used)).all()
    assert tuple(held) == (5, 5 * 40_000)
    assert {row.meter: (row.held, row.used) for row in rows} == {"micros": (200_000, 0), "video_ms": (20_000, 0)}
    shown = http.get("/v1/usage").json()["quotas"][0]
    assert (shown["held"], shown["used"], shown["limit"]) == (200_000, 0, 200_000)
    for stage in Stage:
        for _ in range(5):
            world.advance(stage)
    with world.database.transaction(tenant.id) as connection:
        charged, total = connection.execute(
            sa.select(sa.func.sum(entries.c.micros).filter(entries.c.kind == "charge"), sa.func.sum(entries.c.micros))
        ).one()
    lines, quota = (http.get("/v1/usage").json()[part] for part in ("data", "quotas"))
    print(
        f"{answers.count(200)} of {len(answers)} accepted; ledger {total}, charged {charged}, used {quota[0]['used']}"
    )
    assert charged == total == sum(line["micros"] for line in lines) == 5 * 40_000
    assert (quota[0]["held"], quota[0]["used"]) == (0, charged)


def test_a_refused_create_leaves_its_tenant_as_it_was(
    client_of: Callable[..., OpenAI], tenant: Tenant, world: World
) -> None:
    limit(world, tenant, Meter.VIDEO_MS, 10_000, Period.MONTH)
    client = client_of(tenant, max_retries=2)
    client.videos.create(prompt="a red ball", seconds="8")
    with pytest.raises(RateLimitError, match=r"video time is 10000 video_ms a month. It begins anew at") as refused:
        client.videos.create(prompt="a red ball", seconds="4")
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert len(client.videos.list().data) == 1


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (QuotaExceeded("", clears_at=datetime.now(UTC) + timedelta(seconds=100)), True),
        (QuotaExceeded("", clears_at=datetime.now(UTC) + timedelta(hours=1)), False),
        (QuotaExceeded(""), False),
        (RateLimited("", 3.2), True),
    ],
)
def test_the_client_tries_again_only_where_that_can_help(failure: Exception, again: bool) -> None:  # noqa: FBT001 - a parameter of the test
    answer = errors.answer(failure)
    assert answer.status_code == 429
    assert OpenAI(api_key="k")._should_retry(answer) is again
    assert ("retry-after-ms" in answer.headers) == (getattr(failure, "clears_at", True) is not None)
