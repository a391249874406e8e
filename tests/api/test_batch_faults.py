"""Runners that die, lose their lease or meet limits: no line is made twice, none is left out."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from api import batch_turns
from api.batch_runner import BatchRunner
from api.batch_worker import Lost
from api.metrics import Metrics
from api.services import Services
from api.submission import Errand
from domain.batches import PRIORITY
from domain.errors import Unavailable
from domain.ledger import Meter
from domain.quotas import Period
from storage import keys, ledger
from tests.fixtures.place import ONCE_EACH, Place
from tests.fixtures.runners import process_of


def test_a_batch_survives_the_death_of_its_runners(place: Place) -> None:
    """Four processes are killed at any moment, a fifth finishes: as many videos as lines, each with its own seed."""
    count, dice = 80, random.Random(5)
    place.batch(count)
    made: list[int] = []
    for _ in range(4):
        with process_of(place.settings):
            time.sleep(dice.uniform(0.05, 0.5))
        made.append(place.videos())
    assert made[0] < count, "the first did not finish"
    with process_of(place.settings):
        place.until("SELECT count(*) FROM batch_lines WHERE state = 'created'", count)
    assert place.scalar(ONCE_EACH) == count
    assert place.videos() == count
    assert place.scalar("SELECT count(DISTINCT request->>'seed') FROM videos") == count
    assert place.scalar("SELECT count(*) FROM ledger WHERE kind = 'hold'") == count


def test_two_runners_make_each_video_once(place: Place, served: Services) -> None:
    for _ in range(3):
        place.batch(30)
    other = Services.open(place.settings, Metrics())
    runners = [BatchRunner(served), BatchRunner(other)]
    try:
        place.until("SELECT count(*) FROM batch_lines WHERE state = 'created'", 90)
    finally:
        for runner in runners:
            runner.stop()
        other.close()
    assert (place.scalar(ONCE_EACH), place.videos()) == (90, 90)


def test_whoever_lost_the_lease_writes_nothing_more(place: Place, served: Services) -> None:
    place.batch(3)
    batch_turns.take(served, first := place.claim())
    place.free(first)
    slow = place.claim(seconds=0.0)
    quick = place.claim()
    with pytest.raises(Lost):
        batch_turns.take(served, slow)
    assert place.videos() == 0
    batch_turns.take(served, quick)
    assert place.videos() == 3


def test_a_line_and_its_video_are_one_transaction(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails after the line was noted: neither is there, and the next turn makes both."""
    place.batch(1)
    batch_turns.take(served, first := place.claim())
    place.free(first)

    def broken(*_: object) -> None:
        raise Unavailable("cut")

    with monkeypatch.context() as cut:
        cut.setattr("storage.ledger.hold", broken)
        batch_turns.take(served, turn := place.claim())
    assert (place.videos(), place.scalar("SELECT count(*) FROM batch_lines WHERE state = 'waiting'")) == (0, 1)
    place.free(turn)
    batch_turns.take(served, place.claim())
    assert (place.videos(), place.scalar(ONCE_EACH)) == (1, 1)


def test_lines_beyond_the_quota_wait_until_there_is_room(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_turns, "QUOTA_SECONDS", 0.2)
    with place.world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, place.tenant_id, Meter.VIDEO_MS, 8_000, Period.TOTAL)
    place.batch(5)
    runner = BatchRunner(served)
    try:
        place.until("SELECT count(*) FROM videos", 2)
        time.sleep(1)
        assert place.videos() == 2, "4 seconds each"
        assert place.scalar("SELECT count(*) FROM batch_lines WHERE state = 'waiting'") == 3
        with place.world.database.transaction_for_any_tenant() as connection:
            ledger.clear_limit(connection, place.tenant_id, Meter.VIDEO_MS)
        place.until("SELECT count(*) FROM videos", 5)
    finally:
        runner.stop()
    assert place.scalar("SELECT max(priority) FROM videos") == PRIORITY
    beyond = "SELECT round(min(extract(epoch FROM queue_deadline - b.expires_at)) / 60) FROM videos, batches b"
    assert place.scalar(beyond) == 10, "until after the window, however soon others give up"


def test_an_unforeseen_failure_of_a_line_is_its_own(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.batch(3)
    batch_turns.take(served, first := place.claim())
    place.free(first)
    real = batch_turns.submit

    def brittle(services: Services, caller: object, values: dict[str, object], *, errand: Errand) -> object:
        if values["seed"] == 1:
            raise ZeroDivisionError
        return real(services, caller, values, errand=errand)

    monkeypatch.setattr(batch_turns, "submit", brittle)
    batch_turns.take(served, place.claim())
    assert place.videos() == 2
    assert place.scalar("SELECT (error->>'status_code')::int FROM batch_lines WHERE state = 'failed'") == 500


def test_a_batch_that_cannot_be_begun_fails_after_three_attempts(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def broken(*_: object) -> None:
        attempts.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr("storage.batch_runs.accept", broken)
    monkeypatch.setattr("api.batch_runner.AGAIN_SECONDS", 0.01)
    place.batch(2)
    runner = BatchRunner(served)
    try:
        place.until("SELECT count(*) FROM batches WHERE status = 'failed' AND failed_at IS NOT NULL", 1, seconds=20)
    finally:
        runner.stop()
    assert len(attempts) == 3
    assert place.scalar("SELECT count(*) FROM batches WHERE errors->0->>'code' = 'internal_error'") == 1


def test_failures_are_forgotten_once_a_turn_succeeds(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.batch(1)
    monkeypatch.setattr("api.batch_runner.AGAIN_SECONDS", 0.3)
    with monkeypatch.context() as broken:
        broken.setattr("storage.batch_runs.accept", lambda *_: 1 / 0)
        runner = BatchRunner(served)
        try:
            place.until("SELECT max(failures) FROM batches", 1)
        finally:
            runner.stop()
    runner = BatchRunner(served)
    try:
        place.until(ONCE_EACH, 1)
        place.until("SELECT max(failures) FROM batches", 0)
    finally:
        runner.stop()


def test_a_line_slower_than_the_lease_keeps_its_batch(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runners, a lease of one second, lines of two and a half: each line is worked on once."""
    begun, real = [], batch_turns.submit

    def slow(*arguments: Any, errand: Errand) -> object:
        begun.append(1)
        time.sleep(2.5)
        return real(*arguments, errand=errand)

    monkeypatch.setattr(batch_turns, "submit", slow)
    place.batch(2)
    other = Services.open(place.settings, Metrics())
    runners = [BatchRunner(served), BatchRunner(other)]
    try:
        place.until(ONCE_EACH, 2, seconds=20)
    finally:
        for runner in runners:
            runner.stop()
        other.close()
    assert len(begun) == 2


def test_a_turn_ends_in_time_however_many_lines_wait(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.batch(5)
    batch_turns.take(served, first := place.claim())
    place.free(first)
    monkeypatch.setattr(batch_turns, "TURN_SECONDS", 0.0)
    assert batch_turns.take(served, place.claim()) == 0.0
    assert place.videos() < 5


def test_a_tenant_with_many_batches_gets_one_turn_of_two(place: Place) -> None:
    crowd = [place.batch(1) for _ in range(4)]
    other = replace(place, tenant_id=place.world.tenant("other", render_cap=100))
    with place.world.database.transaction_for_any_tenant() as connection:
        keys.issue_for_any_tenant(connection, other.tenant_id, "other", b"pepper", "1")
    lone = other.batch(1)
    seen = []
    for _ in range(4):
        turn = place.claim()
        seen.append(turn.batch.id)
        (place if turn.batch.id != lone else other).free(turn)
    assert [batch == lone for batch in seen] == [False, True, False, True]
    assert set(seen) - {lone} <= set(crowd)
    assert len(set(seen)) == 3, "the tenant's own batches take turns too"


def test_batches_take_turns(place: Place) -> None:
    made = {place.batch(1) for _ in range(3)}
    seen = set()
    for _ in made:
        turn = place.claim()
        seen.add(turn.batch.id)
        place.free(turn)
        time.sleep(0.01)
    assert seen == made
