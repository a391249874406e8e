"""A bounded hand-over between two threads that either side can break off at once."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")


class ChannelClosed(Exception):
    """The other side has broken off: stop and clean up."""


class Channel(Generic[Item]):
    """Items that weigh at most `capacity` in flight, or one; `put` waits for room, iteration waits for items."""

    def __init__(self, capacity: int, weigh: Callable[[Item], int]) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._items: deque[Item] = deque()
        self._finished = False
        self._broken = False
        self._changed = Condition()

    def put(self, item: Item) -> None:
        """Hand one item over. Raises ChannelClosed once the channel is broken."""
        with self._changed:
            self._changed.wait_for(lambda: self._broken or self._has_room(item))
            self.check()
            self._items.append(item)
            self._changed.notify_all()

    def finish(self) -> None:
        """Say that no item follows."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def break_off(self) -> None:
        """Drop what is in flight and wake both sides with ChannelClosed."""
        with self._changed:
            self._broken = True
            self._items.clear()
            self._changed.notify_all()

    def check(self) -> None:
        """Raise ChannelClosed if the channel is broken; for long work on one item."""
        if self._broken:
            raise ChannelClosed

    def _has_room(self, item: Item) -> bool:
        return not self._items or sum(map(self._weigh, (*self._items, item))) <= self._capacity

    def __iter__(self) -> Iterator[Item]:
        """Yield items until `finish`. Raises ChannelClosed once the channel is broken."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._broken or self._finished or self._items)
                self.check()
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
