from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Iterator
from uuid import UUID

import anyio
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import OpenAI

from api import bills
from domain import ids
from domain.ledger import Meter
from domain.lifecycle import Stage
from domain.quotas import Period
from domain.usage import By, Grouping, Line
from storage import ledger
from storage.tables import ledger as entries
from storage.usage import Page
from tests.api.conftest import Tenant
from tests.fixtures.videos import World


def complete(world: World, tenant: Tenant, **options: object) -> UUID:
    video_id = world.queued(tenant.id, **options)
    world.advance(Stage.RENDER)
    world.advance(Stage.PUBLISH)
    return video_id


@pytest.fixture
def charged(world: World, tenant: Tenant) -> Tenant:
    """A tenant with three charges: two of ann, one whose label looks like a formula."""
    complete(world, tenant, metadata={"customer": "ann"})
    complete(world, tenant, metadata={"customer": "ann"}, seconds=2)
    complete(world, tenant, metadata={"customer": "=1+1"})
    return tenant


def test_usage_lists_charges_and_limits(http: TestClient, charged: Tenant, world: World) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, charged.id, Meter.VIDEO_MS, 60_000, Period.MONTH)
        ledger.set_limit(connection, charged.id, Meter.MICROS, 1_000_000, Period.TOTAL)
    answer = http.get("/v1/usage", params={"group_by": "model,label:customer"}).json()
    shown = {key: answer[key] for key in ("object", "group_by", "has_more", "after")}
    assert shown == {"object": "usage", "group_by": "model,label:customer", "has_more": False, "after": None}
    sums = {(line["model"], line["label"]): (line["videos"], line["micros"]) for line in answer["data"]}
    assert sums == {("testcard", "=1+1"): (1, 10_000), ("testcard", "ann"): (2, 30_000)}
    assert {line["day"] for line in answer["data"]} == {None}
    spending, video = answer["quotas"]
    assert spending == {
        "meter": "micros", "period": "total", "limit": 1_000_000, "held": 0, "used": 40_000, "resets_at": None,
    }  # fmt: skip
    assert (video["used"], video["period"]) == (4_000, "month")
    assert video["resets_at"] > answer["end"]


@pytest.mark.usefixtures("charged")
def test_pages_of_usage_follow_each_other(http: TestClient) -> None:
    seen, after = [], ""
    for _ in range(3):
        answer = http.get("/v1/usage", params={"group_by": "video", "limit": 1, "after": after}).json()
        seen += [line["video"] for line in answer["data"]]
        after = answer["after"]
    assert len(set(seen)) == 3
    assert not answer["has_more"]
    assert after is None


def test_an_export_equals_the_ledger(http: TestClient, charged: Tenant, world: World) -> None:
    with world.database.transaction(charged.id) as connection:
        rows = connection.execute(sa.select(entries).where(entries.c.kind == "charge").order_by(entries.c.at)).all()
    answer = http.get("/v1/usage/export", params={"group_by": "video,model,label:customer", "format": "jsonl"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    exported = [json.loads(text) for text in answer.text.splitlines()]
    assert exported == [
        {
            "model": row.model,
            "label": row.labels["customer"],
            "video": ids.public(ids.Kind.VIDEO, row.video_id),
            "videos": 1,
            "micros": row.micros,
            "video_ms": row.video_ms,
            "gpu_ms": row.gpu_ms,
        }
        for row in rows
    ]


@pytest.mark.usefixtures("charged")
def test_csv_holds_no_formulas(http: TestClient) -> None:
    answer = http.get("/v1/usage/export", params={"group_by": "label:customer,day", "format": "csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["label"], row["micros"]) for row in rows] == [("'=1+1", "10000"), ("ann", "30000")]
    assert list(rows[0]) == ["day", "label", "videos", "micros", "video_ms", "gpu_ms"]


def test_an_export_holds_one_page_at_a_time() -> None:
    line = Line(None, None, None, "m", None, None, 1, 2, 3, 4)
    read: list[tuple[str, ...]] = []

    def page(after: tuple[str, ...]) -> Page:
        read.append(after)
        return Page((line,) * 10, (str(len(read)),) if len(read) < 5 else None)

    answer = bills.export(page, Grouping(frozenset({By.MODEL})), "jsonl")
    assert read == [()], "the first page alone is read before the answer begins"
    body = _chunks(answer)
    assert sum(chunk.count(b"\n") for chunk in body) == 50
    assert read == [(), ("1",), ("2",), ("3",), ("4",)]


def _chunks(answer: object) -> Iterator[bytes]:
    async def collect() -> list[bytes]:
        return [chunk async for chunk in answer.body_iterator]

    return iter(anyio.run(collect))


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": ""}, "group_by"),
        ({"group_by": "day,day"}, "group_by"),
        ({"group_by": "label"}, "group_by"),
        ({"group_by": "label:"}, "group_by"),
        ({"group_by": "label:\0"}, "group_by"),
        ({"start": "yesterday"}, "start"),
        ({"start": "9" * 30}, "start"),
        ({"start": "0001-01-01T00:00:00+23:00"}, "start"),
        ({"start": "2026-01-02", "end": "2026-01-01"}, "start"),
        ({"start": "2999-01-01"}, "start"),
        ({"after": "%%%"}, "after"),
        ({"after": base64.urlsafe_b64encode(b"[" * 3_000).decode()}, "after"),
        ({"after": base64.urlsafe_b64encode(b'["' + b"a" * 40_000 + b'"]').decode()}, "after"),
        ({"after": "bnVsbA=="}, "after"),
        ({"after": "WyJ4Il0="}, "after"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
    ],
)
def test_what_makes_no_sense_is_refused(http: TestClient, query: dict[str, str], param: str) -> None:
    answer = http.get("/v1/usage", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.usefixtures("charged")
def test_nobody_sees_the_usage_of_others(app: TestClient, new_tenant: Callable[[str], Tenant]) -> None:
    other = new_tenant("bob")
    for path in ("/v1/usage", "/v1/usage/export"):
        assert app.get(path).status_code == 401
        mine = app.get(path, headers={"authorization": f"Bearer {other.key}"}, params={"group_by": "video"})
        assert mine.status_code == 200
        assert "video_" not in mine.text


def test_a_video_says_what_it_used(client: OpenAI, world: World, tenant: Tenant) -> None:
    waiting = client.videos.create(prompt="a red ball")
    assert waiting.model_extra["usage"] == {
        "gpu_ms": 0, "seconds": 0, "price_micros": 40_000, "charged_micros": 0, "held_micros": 40_000,
    }  # fmt: skip
    client.videos.delete(waiting.id)
    done = client.videos.retrieve(ids.public(ids.Kind.VIDEO, complete(world, tenant, seconds=2)))
    usage = done.model_extra["usage"]
    assert usage.pop("gpu_ms") > 0
    assert usage == {"seconds": 2, "price_micros": 20_000, "charged_micros": 20_000, "held_micros": 0}
