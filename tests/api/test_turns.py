from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from api import decoding, fetching, gate, moderator, services
from api.turns import MOST_SLOW, MOST_SLOW_OF_A_TENANT, ORDINARY_THREADS, Crowd, Room, Turns
from domain import ids
from domain.errors import Unavailable
from storage.database import POOL_SIZE

MINE, YOURS = ids.new_id(), ids.new_id()


def turns(waiting: int = 4, patience_seconds: float = 0.1, crowd: Crowd | None = None) -> Turns:
    return Turns(Room(3, 2, waiting, patience_seconds), "Busy.", crowd or Crowd())


def test_slow_work_leaves_threads_for_everything_else() -> None:
    assert (MOST_SLOW + ORDINARY_THREADS, ORDINARY_THREADS) == (POOL_SIZE, 6)
    rooms = (fetching.ROOM, decoding.PICTURES, decoding.CLIPS, moderator.ROOM, services.TRIALS)
    asked = sum(room.places + room.waiting for room in rooms) + gate.PLACES + services.MOST_DETECTIONS
    assert asked > POOL_SIZE, "else each room alone would do, and the crowd were no use"
    assert all(room.places <= MOST_SLOW_OF_A_TENANT < MOST_SLOW for room in rooms)


def test_all_kinds_of_slow_work_together_have_so_many_places() -> None:
    crowd = Crowd(most=3, of_a_tenant=2)
    one, other = turns(crowd=crowd), turns(crowd=crowd)
    store = gate.Gate(crowd)
    with one.of(MINE), other.of(MINE):
        with pytest.raises(Unavailable, match="slow work"), one.of(MINE):
            pass
        with store.entered():
            for refused in (one.of(YOURS), store.entered(), crowd.joined()):
                with pytest.raises(Unavailable, match="slow work"), refused:
                    pass
        with one.of(YOURS):
            pass
    assert not crowd._inside


def test_whoever_waits_is_one_of_the_crowd() -> None:
    crowd = Crowd(most=3, of_a_tenant=3)
    room = turns(patience_seconds=5, crowd=crowd)
    with ThreadPoolExecutor(1) as threads:
        with room.of(MINE), room.of(MINE):
            waiting = threads.submit(lambda: room.of(MINE).__enter__())
            while not room._waiting:
                time.sleep(0.001)
            with pytest.raises(Unavailable, match="slow work"), room.of(YOURS):
                pass
        waiting.result(5)


def test_one_tenant_leaves_a_place_to_others() -> None:
    room = turns()
    with ExitStack() as taken:
        taken.enter_context(room.of(MINE))
        taken.enter_context(room.of(MINE))
        with pytest.raises(Unavailable, match="Busy"):
            taken.enter_context(room.of(MINE))
        taken.enter_context(room.of(YOURS))
        with pytest.raises(Unavailable):
            taken.enter_context(room.of(YOURS))
    with room.of(MINE), room.of(MINE), room.of(YOURS):
        pass


def test_whoever_waits_gets_the_place_that_becomes_free() -> None:
    room = turns(patience_seconds=10)
    release = threading.Event()

    def hold() -> None:
        with room.of(MINE):
            release.wait(5)

    with ThreadPoolExecutor(5) as threads:
        holding = [threads.submit(hold) for _ in range(5)]
        while room._waiting < 3:
            time.sleep(0.001)
        release.set()
        assert [each.result(5) for each in holding] == [None] * 5
    assert (room._waiting, room._taken.total()) == (0, 0)


def test_few_may_wait() -> None:
    room = turns(waiting=0, patience_seconds=60)
    started = time.monotonic()
    with room.of(MINE), room.of(MINE), pytest.raises(Unavailable), room.of(MINE):
        pass
    assert time.monotonic() - started < 5


def test_a_failure_gives_the_place_back() -> None:
    room = turns()
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), room.of(MINE):
            raise ZeroDivisionError
    assert not room._taken
