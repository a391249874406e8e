from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage
from domain.usage import Line, Span, grouping
from storage import keys, usage, videos
from storage.tables import ledger
from tests.fixtures.videos import World

ALWAYS = Span(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
PRICE = 10_000


def completed(world: World, tenant: UUID, **options: object) -> UUID:
    video_id = world.queued(tenant, **options)
    world.advance(Stage.RENDER)
    world.advance(Stage.PUBLISH)
    return video_id


def lines(world: World, tenant: UUID, by: str, *, page: int = 100, span: Span = ALWAYS) -> list[Line]:
    """All lines, read in pages."""
    found: list[Line] = []
    after: tuple[str, ...] = ()
    while True:
        with world.database.transaction(tenant) as connection:
            part = usage.page(connection, tenant, span, grouping(by), limit=page, after=after)
        assert len(part.lines) <= page
        found += part.lines
        if part.after is None:
            return found
        assert len(part.lines) == page
        after = part.after


def move_charge(owner_url: str, video_id: UUID, at: datetime) -> None:
    engine = sa.create_engine(owner_url)
    with engine.begin() as connection:
        connection.execute(sa.update(ledger).where(ledger.c.video_id == video_id).values(at=at))
    engine.dispose()


def test_charges_add_up_by_label_key_and_model(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        keys.issue_for_any_tenant(connection, tenant, "a key", b"pepper", "1")
        key_id = connection.execute(sa.text("SELECT id FROM api_keys")).scalar_one()
    completed(world, tenant, metadata={"customer": "ann", "shot": "1"}, key_id=key_id)
    completed(world, tenant, metadata={"customer": "ann", "shot": "2"}, seconds=2)
    completed(world, tenant, metadata={"shot": "3"})
    by_customer = lines(world, tenant, "label:customer")
    assert [(line.label, line.videos, line.micros, line.video_ms) for line in by_customer] == [
        ("", 1, PRICE, 1_000),
        ("ann", 2, 3 * PRICE, 3_000),
    ]
    by_key = lines(world, tenant, "key,model,label:customer")
    assert {(line.key, line.model, line.label, line.micros) for line in by_key} == {
        (None, "testcard", "", PRICE),
        (None, "testcard", "ann", 2 * PRICE),
        (key_id, "testcard", "ann", PRICE),
    }


def test_a_day_begins_at_midnight_in_utc(world: World, owner_url: str) -> None:
    tenant = world.tenant()
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    move_charge(owner_url, completed(world, tenant), midnight)
    move_charge(owner_url, completed(world, tenant), midnight - timedelta(microseconds=1))
    by_day = lines(world, tenant, "day")
    assert [(line.day, line.videos) for line in by_day] == [(date(2026, 2, 28), 1), (date(2026, 3, 1), 1)]
    february = Span(datetime(2026, 2, 1, tzinfo=UTC), midnight)
    assert [line.day for line in lines(world, tenant, "day", span=february)] == [date(2026, 2, 28)]


@pytest.mark.parametrize("by", ["day,key,model,label:n", "label:n", "video", "video,day,model,label:n", "model"])
def test_pages_of_any_length_hold_the_same_lines(world: World, owner_url: str, by: str) -> None:
    tenant = world.tenant()
    for number in range(7):
        video_id = completed(world, tenant, metadata={"n": f"{number % 3}"})
        move_charge(owner_url, video_id, datetime(2026, 3, 1 + number % 2, tzinfo=UTC))
    whole = lines(world, tenant, by)
    assert sum(line.micros for line in whole) == 7 * PRICE
    for page in (1, 2, 3):
        assert lines(world, tenant, by, page=page) == whole


def test_an_erased_video_can_still_be_billed(world: World) -> None:
    tenant = world.tenant()
    video_id = completed(world, tenant, metadata={"customer": "ann"})
    with world.database.transaction(tenant) as connection:
        assert videos.mark_deleted(connection, tenant, video_id)
    (line,) = lines(world, tenant, "label:customer,video,model")
    assert (line.label, line.video, line.model) == ("ann", video_id, "testcard")


def test_a_tenant_sees_its_own_charges_and_the_service_sees_all(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    for tenant in (mine, theirs, theirs):
        completed(world, tenant)
    assert [(line.tenant, line.videos) for line in lines(world, mine, "tenant")] == [(mine, 1)]
    with world.database.transaction_for_any_tenant() as connection:
        page = usage.page_for_any_tenant(connection, ALWAYS, grouping("tenant"), limit=10)
    assert {line.tenant: line.videos for line in page.lines} == {mine: 1, theirs: 2}


@pytest.mark.parametrize("after", [("x",), ("x", "y", "z"), ("2026-01-01", "no uuid"), ("2026-01-01", "\0")])
def test_a_place_that_no_page_gave_is_refused(world: World, after: tuple[str, ...]) -> None:
    tenant = world.tenant()
    with pytest.raises(ValueError, match=r"."), world.database.transaction(tenant) as connection:
        usage.page(connection, tenant, ALWAYS, grouping("day,key"), limit=1, after=after)


@pytest.mark.parametrize("at", ["2026-01-01", "0001-01-01T00:00:00+23:00", "yesterday"])
def test_a_moment_that_no_page_gave_is_refused(world: World, at: str) -> None:
    tenant = world.tenant()
    with pytest.raises(ValueError, match=r"."), world.database.transaction(tenant) as connection:
        usage.page(connection, tenant, ALWAYS, grouping("video"), limit=1, after=(at, str(tenant)))


def test_an_export_of_videos_reads_its_page_off_the_index(world: World) -> None:
    tenant = world.tenant()
    completed(world, tenant)
    place = (datetime(2026, 1, 1, tzinfo=UTC).isoformat(), str(UUID(int=1)))
    sent: list[tuple[str, Any]] = []

    def note(*event: Any) -> None:
        sent.append((event[2], event[3]))

    with world.database.transaction(tenant) as connection:
        sa.event.listen(connection, "before_cursor_execute", note)
        usage.page(connection, tenant, ALWAYS, grouping("video"), limit=1, after=place)
        sa.event.remove(connection, "before_cursor_execute", note)
        ((statement, values),) = sent
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars())
    assert "ledger_charges_by_tenant" in plan
    assert "Sort" not in plan
