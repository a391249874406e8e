"""Open progress streams of one API process, and the one task that looks into the database for all of them.

A stream holds neither a thread nor a connection: it sleeps until the task wakes it. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from anyio.to_thread import run_sync

from api.estimates import MOST_AHEAD, Estimates
from domain.errors import RateLimited, Unavailable
from domain.lifecycle import State
from storage import progress
from storage.database import Database
from storage.keys import Caller
from storage.outages import OUTAGES
from storage.progress import Event, Position

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
HURRY_SECONDS = 0.05  # between two looks when streams open
KEYS_SECONDS = 2.0  # a revoked key's streams end so soon
RANK_SECONDS = 2.0  # the dispatcher counts the queues no more often
MOST_RANKED = 200  # waiting videos whose place is counted at once, the oldest first
MOST_STREAMS = 1_000  # of one process
FULL_SECONDS = 5.0  # after which a client may ask again
_WAITING = {State.RECEIVED, State.SCREENING, State.QUEUED}


@dataclass(slots=True)
class Seen:
    """What is known of one video. `events` is its history from the beginning: sequence n is at n - 1."""

    events: list[Event] = field(default_factory=list[Event])
    progress: int = 0
    gone: bool = False
    queue_position: int | None = None

    @property
    def waits(self) -> bool:
        """Whether it has a place in a queue."""
        return bool(self.events) and self.events[-1].type in _WAITING


@dataclass(eq=False, slots=True)
class Watch:
    """One stream's view of its video."""

    video_id: UUID
    caller: Caller
    seen: Seen
    over: bool = False  # the process stops, or the key is no longer good: the client must ask again
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """There is something new."""
        self._news.set()

    async def news(self, seconds: float) -> bool:
        """Wait for something new. False if nothing came in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Streams:
    """Lets streams in and out, and keeps them informed."""

    def __init__(self, database: Database, estimates: Estimates) -> None:
        self._database = database
        self._estimates = estimates
        self._watches: set[Watch] = set()
        self._seen: dict[UUID, Seen] = {}
        self._of_tenant: Counter[UUID] = Counter()
        self._of_video: Counter[UUID] = Counter()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._keys_at = self._ranks_at = 0.0
        self._closed = False

    @asynccontextmanager
    async def watching(self, caller: Caller, video_id: UUID) -> AsyncGenerator[Watch]:
        """A place for one stream. Raises RateLimited beyond the tenant's, Unavailable beyond the process's."""
        if self._closed or len(self._watches) >= MOST_STREAMS:
            raise Unavailable("Too many progress streams are open. Please try again shortly.")
        if self._of_tenant[caller.tenant_id] >= caller.tenant.streams:
            raise RateLimited(f"At most {caller.tenant.streams} progress streams may be open at once.", FULL_SECONDS)
        watch = self._enter(caller, video_id)
        try:
            yield watch
        finally:
            self._leave(watch)

    def __len__(self) -> int:
        return len(self._watches)

    def close(self) -> None:
        """End every stream at once: their clients come back to whoever serves then."""
        self._closed = True
        for watch in self._watches:
            watch.over = True
            watch.wake()
        if self._task is not None:
            self._task.cancel()

    def _enter(self, caller: Caller, video_id: UUID) -> Watch:
        watch = Watch(video_id, caller, self._seen.setdefault(video_id, Seen()))
        self._watches.add(watch)
        self._of_tenant[caller.tenant_id] += 1
        self._of_video[video_id] += 1
        watch.wake()
        self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="progress streams")
        return watch

    def _leave(self, watch: Watch) -> None:
        self._watches.discard(watch)
        for counter, name in ((self._of_tenant, watch.caller.tenant_id), (self._of_video, watch.video_id)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        if watch.video_id not in self._of_video:
            del self._seen[watch.video_id]

    async def _run(self) -> None:
        """Look as long as anybody watches. A database that is away delays the news."""
        while self._watches:
            self._hurry.clear()
            try:
                await self._look()
            except OUTAGES as error:
                log.warning("progress streams wait for the database", extra={"error": type(error).__name__})
            except Exception:
                # Without this task every stream of the process would fall silent.
                log.exception("a look at the watched videos failed")
            await asyncio.sleep(HURRY_SECONDS)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS - HURRY_SECONDS):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        """Everything that streams send comes from here."""
        changed = await self._follow()
        if time.monotonic() >= self._ranks_at:
            changed |= await self._rank()
            self._ranks_at = time.monotonic() + RANK_SECONDS
        if time.monotonic() >= self._keys_at:
            await self._check_keys()
            self._keys_at = time.monotonic() + KEYS_SECONDS
        for watch in self._watches:
            if watch.over or watch.video_id in changed:
                watch.wake()

    async def _follow(self) -> set[UUID]:
        known = {video_id: len(seen.events) for video_id, seen in self._seen.items()}
        positions = await run_sync(self._read_positions, known)
        return {position.video_id for position in positions if self._note(position)}

    async def _rank(self) -> set[UUID]:
        waiting = sorted(video_id for video_id, seen in self._seen.items() if seen.waits)[:MOST_RANKED]
        places = await run_sync(self._read_places, waiting) if waiting else {}
        moved = {name for name in places if name in self._seen and self._seen[name].queue_position != places[name]}
        for video_id in moved:
            self._seen[video_id].queue_position = places[video_id]
        return moved

    async def _check_keys(self) -> None:
        keys = {watch.caller.key_id for watch in self._watches}
        living = await run_sync(self._read_keys, keys)
        for watch in self._watches:
            watch.over = watch.over or watch.caller.key_id in keys - living

    def _read_positions(self, known: Mapping[UUID, int]) -> Sequence[Position]:
        with self._database.transaction_for_any_tenant() as connection:
            return progress.follow_for_any_tenant(connection, known)

    def _read_places(self, waiting: Sequence[UUID]) -> dict[UUID, int | None]:
        with self._database.transaction_for_any_tenant() as connection:
            ranks = progress.ranks_for_any_tenant(connection, waiting, MOST_AHEAD)
        return {rank.video_id: self._estimates.position(rank) for rank in ranks}

    def _read_keys(self, keys: Collection[UUID]) -> frozenset[UUID]:
        with self._database.transaction_for_any_tenant() as connection:
            return progress.living_keys_for_any_tenant(connection, keys)

    def _note(self, position: Position) -> bool:
        """Whether this is news. A video whose last stream left meanwhile is nobody's business."""
        seen = self._seen.get(position.video_id)
        if seen is None:
            return False
        fresh = [event for event in position.events if event.seq > len(seen.events)]
        changed = bool(fresh) or (seen.progress, seen.gone) != (position.progress, position.gone)
        seen.events += fresh
        seen.progress, seen.gone = position.progress, position.gone
        return changed
