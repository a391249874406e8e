"""Batches that cannot go on end, and those that are over go."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from api import batch_turns
from api.batch_runner import BatchRunner
from api.services import Services
from domain.batches import MOST_FAILED_TURNS, MOST_FAILURES
from domain.webhooks import EventType
from storage import batches, webhooks
from storage.batch_runs import Turn
from tests.fixtures.place import ONCE_EACH, Place
from tests.fixtures.runners import process_of


@pytest.mark.parametrize(
    ("broken", "files_given"),
    [("api.batch_turns._go_on", 1), ("api.batch_files._fill", 0), ("storage.batch_lines.collect", 0)],
    ids=["what goes on", "what writes the files", "what counts the lines"],
)
def test_a_batch_that_cannot_go_on_fails_in_the_end(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch, broken: str, files_given: int
) -> None:
    """Its lines are counted, its owner is told, and nobody tries it again."""
    tenant, url = place.tenant_id, "https://example.com/"
    with place.world.database.transaction(tenant) as connection:
        webhooks.create(
            connection, tenant, name="n", url=url, event_types=[EventType.BATCH_FAILED], keys={"1": bytes(32)}
        )
    place.batch(3)
    for _ in range(2):
        batch_turns.take(served, turn := place.claim())
        place.free(turn)
    assert place.scalar(ONCE_EACH) == 3
    attempts = []

    def fail(*_: object) -> None:
        attempts.append(1)
        raise ZeroDivisionError

    for name in {broken, "api.batch_turns._go_on"}:
        monkeypatch.setattr(name, fail)
    for name in ("AGAIN_SECONDS", "LONGEST_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"api.batch_runner.{name}", 0.01)
    runner = BatchRunner(served)
    try:
        place.until("SELECT count(*) FROM batches WHERE status = 'failed' AND failed_at IS NOT NULL", 1, seconds=30)
    finally:
        runner.stop()
    assert len(attempts) == MOST_FAILED_TURNS + (broken != "api.batch_turns._go_on")
    assert place.scalar("SELECT count(*) FROM batches WHERE failed = total AND total = 3") == 1
    assert place.scalar("SELECT count(*) FROM batches WHERE errors->0->>'code' = 'internal_error'") == 1
    assert place.scalar("SELECT count(*) FROM batch_lines WHERE error->>'code' = 'batch_failed'") == 3
    assert place.scalar("SELECT count(*) FROM webhook_messages WHERE type = 'batch.failed'") == 1
    assert place.scalar("SELECT count(error_file_id) FROM batches") == files_given
    assert place.scalar("SELECT count(*) FROM videos WHERE state = 'cancelled'") == 3


DEADLY = """
import os, time
from api import batch_runner, batch_turns
def die(_):
    time.sleep(0.5)  # so that it is known to have begun
    os.kill(os.getpid(), 9)
batch_turns._begin = die
batch_runner.AGAIN_SECONDS = 0.01
"""


def dead_turn(place: Place) -> None:
    """A process that ends within its turn leaves only this: a claim that nobody releases."""
    place.claim(seconds=0.0)


@pytest.mark.slow
def test_a_batch_that_kills_whoever_begins_it_fails_after_three(place: Place, served: Services) -> None:
    place.batch(1)
    for number in range(1, MOST_FAILURES + 1):
        with process_of(place.settings, DEADLY) as process:
            assert process.wait(60) == -9, "the turn killed it"
            assert place.scalar("SELECT failures FROM batches") == number - 1
    runner = BatchRunner(served)
    try:
        place.until("SELECT count(*) FROM batches WHERE status = 'failed' AND failed_at IS NOT NULL", 1)
    finally:
        runner.stop()
    assert place.scalar("SELECT count(*) FROM batches WHERE errors->0->>'code' = 'internal_error'") == 1


@pytest.mark.parametrize(
    ("deaths", "begun", "files_given"),
    [
        (MOST_FAILURES, False, 0),
        (MOST_FAILED_TURNS, True, 1),
        (MOST_FAILED_TURNS + MOST_FAILURES, True, 0),
    ],
    ids=["begin", "go on", "even be given up"],
)
def test_a_batch_that_no_process_survives_ends_untried(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch, *, deaths: int, begun: bool, files_given: int
) -> None:
    place.batch(2)
    for _ in range(2 if begun else 0):
        batch_turns.take(served, turn := place.claim())
        place.free(turn)
    for _ in range(deaths):
        dead_turn(place)
    tried = []
    monkeypatch.setattr(batch_turns, "take", lambda *_: tried.append(1))
    runner = BatchRunner(served)
    try:
        place.until("SELECT count(*) FROM batches WHERE status = 'failed' AND failed_at IS NOT NULL", 1)
    finally:
        runner.stop()
    assert tried == []
    assert place.scalar("SELECT count(error_file_id) FROM batches") == files_given
    assert place.scalar("SELECT count(*) FROM batch_lines WHERE error->>'code' = 'batch_failed'") == 2 * begun


def test_after_one_death_the_next_process_goes_on_at_once_and_it_is_forgotten(place: Place, served: Services) -> None:
    place.batch(1)
    dead_turn(place)
    begun = time.monotonic()
    runner = BatchRunner(served)
    try:
        place.until(ONCE_EACH, 1)
        place.until("SELECT max(failures) FROM batches", 0)
        print(f"{time.monotonic() - begun:.2f} s")
    finally:
        runner.stop()


def test_after_two_deaths_a_batch_rests_before_the_next_try(place: Place, served: Services) -> None:
    place.batch(1)
    for _ in range(2):
        dead_turn(place)
    runner = BatchRunner(served)
    try:
        place.until("SELECT count(*) FROM batches WHERE runner IS NULL AND failures = 2", 1)
    finally:
        runner.stop()
    assert place.scalar("SELECT count(*) FROM batches WHERE run_at > now() + interval '3 seconds'") == 1
    assert place.scalar(ONCE_EACH) == 0


def test_an_outage_is_no_failure_of_the_batch_it_came_upon(
    place: Place, served: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[int] = []
    real = batch_turns.take

    def away(services: Services, turn: Turn) -> float:
        met.append(turn.failures)
        if len(met) <= MOST_FAILURES:
            raise OperationalError("", None, Exception("the server is gone"))
        return real(services, turn)

    monkeypatch.setattr(batch_turns, "take", away)
    monkeypatch.setattr("api.batch_runner.IDLE_SECONDS", 0.01)
    place.batch(1)
    runner = BatchRunner(served)
    try:
        place.until(ONCE_EACH, 1)
    finally:
        runner.stop()
    assert met[: MOST_FAILURES + 1] == [0] * (MOST_FAILURES + 1)


def test_a_batch_that_is_over_goes_with_its_lines_step_by_step(place: Place, served: Services) -> None:
    def forget(lines: int) -> bool:
        with place.world.database.transaction_for_any_tenant() as connection:
            return batches.forget_for_any_tenant(connection, lines)

    over, young = place.batch(5), place.batch(2)
    for step in (batch_turns.take, batch_turns.give_up):
        for _ in range(2):
            step(served, turn := place.claim())
            place.free(turn)
    open_one = place.batch(1)
    month = "SELECT count(*) FROM batches WHERE extract(epoch FROM forget_at - failed_at) BETWEEN 2591999 AND 2592001"
    assert place.scalar(month) == 2
    assert not forget(100)
    with place.world.database.transaction(place.tenant_id) as connection:
        past = sa.text("UPDATE batches SET forget_at = now() - interval '1 second' WHERE id = :id")
        connection.execute(past, {"id": over})
    assert forget(3)
    assert (place.scalar("SELECT count(*) FROM batch_lines"), place.scalar("SELECT count(*) FROM batches")) == (4, 3)
    assert not forget(3)
    with place.world.database.transaction(place.tenant_id) as connection:
        left = batches.page(connection, place.tenant_id, after=None, limit=10).batches
        assert {each.id for each in left} == {young, open_one}
    assert place.scalar("SELECT count(*) FROM batch_lines") == 2
