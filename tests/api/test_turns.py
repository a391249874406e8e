from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from api.decoding import CLIPS, PICTURES
from api.fetching import ROOM
from api.turns import Room, Turns
from domain import ids
from domain.errors import Unavailable
from storage.database import POOL_SIZE

MINE, YOURS = ids.new_id(), ids.new_id()


def turns(waiting: int = 4, patience_seconds: float = 0.1) -> Turns:
    return Turns(Room(3, 2, waiting, patience_seconds), "Busy.")


def test_slow_work_leaves_threads_for_everything_else() -> None:
    held = sum(room.places + room.waiting for room in (ROOM, PICTURES, CLIPS))
    assert held < POOL_SIZE


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
