"""A day of Kinema in a millisecond: the rules of `domain/` alone, on a virtual clock, under seeded misfortune.

Workers claim, finish, fail, crash and hang; leases run out and are reaped; frozen workers wake and try to finish what
is no longer theirs; clients cancel. Every state change goes through the table, every claim through the fair choice.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from domain import lifecycle, schedule
from domain.lifecycle import RUNS, STAGE_OF_RUNNING, TERMINAL, Stage, State
from domain.retries import MAX_CRASHES, MAX_FAILURES, crash_delay, stage_delay
from domain.schedule import Share

LEASE, REAP = 30.0, 5.0
NEXT = {Stage.SCREEN: State.QUEUED, Stage.RENDER: State.RENDERED, Stage.PUBLISH: State.COMPLETED}
DEADLINE = 86_400.0
LIMIT = 10_000  # events of one run; a run that needs more does not end


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class Video:
    """One video and what happened to it."""

    tenant: str
    cost: float
    state: State = State.RECEIVED
    fence: int = 0
    run_at: float = 0.0
    lease_until: float = 0.0
    failures: int = 0
    crashes: int = 0
    charged: float = 0.0
    ends: int = 0
    results: int = 0


@dataclass
class World:
    """Everything that moves, and the clock that moves it."""

    draw: random.Random
    shares: dict[tuple[Stage, str], Share] = field(default_factory=dict)
    videos: list[Video] = field(default_factory=list)
    now: float = 0.0
    rejected: int = 0
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _made: int = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Put it on the agenda."""
        self._made += 1
        heapq.heappush(self._agenda, (when, self._made, what))

    def run(self) -> int:
        """Until every video ended. Returns how many things happened."""
        happened = 0
        while any(video.state not in TERMINAL for video in self.videos):
            if happened > LIMIT or not self._agenda:
                raise Broken(f"stuck after {happened} events: {[video.state for video in self.videos]}")
            self.now, _, what = heapq.heappop(self._agenda)
            what()
            happened += 1
        return happened

    def move(self, video: Video, before: State, after: State, fence: int) -> bool:
        """The guarded move: state and fence as expected, or nothing happens."""
        if video.state is not before or video.fence != fence:
            self.rejected += 1
            return False
        if not lifecycle.allows(before, after):
            raise Broken(f"{before} may not become {after}")
        if before in STAGE_OF_RUNNING:
            self._release(video, STAGE_OF_RUNNING[before])
        video.state = after
        video.ends += after in TERMINAL
        video.results += after is State.COMPLETED
        return True

    def claim(self, stage: Stage) -> tuple[Video, int] | None:
        """The fair choice, then that tenant's oldest video."""
        waiting = [v for v in self.videos if v.state is RUNS[stage].waiting and v.run_at <= self.now]
        if not waiting:
            return None
        backlog = {tenant: 0 for _, tenant in self.shares}
        for video in waiting:
            backlog[video.tenant] += 1
        mine = {tenant: share for (at, tenant), share in self.shares.items() if at is stage}
        fresh = [Share(**{**_fields(share), "backlog": backlog[tenant]}) for tenant, share in mine.items()]
        for share in fresh:
            self.shares[stage, share.tenant] = schedule.doze(share)
        chosen = schedule.choose(fresh)
        if chosen is None:
            return None
        video = next(each for each in waiting if each.tenant == chosen.tenant)
        self.shares[stage, chosen.tenant] = schedule.claim(chosen, video.cost)
        if self.shares[stage, chosen.tenant].running > chosen.cap:
            raise Broken("a cap is overrun")
        video.state, video.fence, video.charged = RUNS[stage].running, video.fence + 1, self.now
        video.lease_until = self.now + LEASE
        return video, video.fence

    def _release(self, video: Video, stage: Stage) -> None:
        share = self.shares[stage, video.tenant]
        self.shares[stage, video.tenant] = schedule.release(share, video.cost, max(0.001, self.now - video.charged))
        if share.running < 1:
            raise Broken("a slot is given back twice")


def _fields(share: Share) -> dict[str, object]:
    return {name: getattr(share, name) for name in Share.__slots__}


class Worker:
    """Works on one stage for ever; fate decides how each attempt ends."""

    def __init__(self, world: World, stage: Stage) -> None:
        self._world, self._stage = world, stage
        world.at(world.draw.uniform(0, 5), self.look)

    def look(self) -> None:
        """Claim what waits; else look again later."""
        world = self._world
        found = world.claim(self._stage)
        if found is None:
            world.at(world.now + 2.0, self.look)
            return
        video, fence = found
        fate = world.draw.choices(("done", "fails", "crashes", "freezes", "holds"), (70, 10, 8, 8, 4))[0]
        took = video.cost * world.draw.uniform(0.5, 2.0)
        getattr(self, f"_{fate}")(video, fence, took)

    def _done(self, video: Video, fence: int, took: float) -> None:
        """Beats prolong the lease until the work is over."""
        video.lease_until = self._world.now + took + LEASE
        self._world.at(self._world.now + took, lambda: self._finish(video, fence))

    def _freezes(self, video: Video, fence: int, took: float) -> None:
        """No beat for longer than the lease; then it wakes and believes that the video is still its own."""
        self._world.at(self._world.now + LEASE + REAP + took, lambda: self._finish(video, fence))

    def _crashes(self, _video: Video, _fence: int, took: float) -> None:
        """Gone without a word; another takes its place."""
        self._world.at(self._world.now + took, self.look)

    def _fails(self, video: Video, fence: int, took: float) -> None:
        video.lease_until = self._world.now + took + LEASE

        def fail() -> None:
            run, held = RUNS[self._stage], video.failures + 1
            if held >= MAX_FAILURES:
                self._world.move(video, run.running, State.FAILED, fence)
            elif self._world.move(video, run.running, run.waiting, fence):
                video.failures, video.run_at = held, self._world.now + stage_delay(held)
            self.look()

        self._world.at(self._world.now + took, fail)

    def _holds(self, video: Video, fence: int, took: float) -> None:
        """A moderator must decide; renderers hold nothing and just finish."""
        if self._stage is Stage.RENDER:
            return self._done(video, fence, took)
        video.lease_until = self._world.now + took + LEASE

        def hold() -> None:
            world = self._world
            back = State.QUEUED if self._stage is Stage.SCREEN else State.RENDERED
            if world.move(video, RUNS[self._stage].running, State.HELD, fence):
                after = world.draw.choice((back, State.BLOCKED))
                world.at(world.now + 60, lambda: world.move(video, State.HELD, after, fence) and None)
            self.look()

        return self._world.at(self._world.now + took, hold)

    def _finish(self, video: Video, fence: int) -> None:
        if self._world.move(video, RUNS[self._stage].running, NEXT[self._stage], fence):
            video.failures = video.crashes = 0
        self.look()


def reap(world: World) -> None:
    """Take back what nobody keeps alive, and look again in a while."""
    for video in world.videos:
        if video.state in STAGE_OF_RUNNING and video.lease_until < world.now:
            run, video.crashes = RUNS[STAGE_OF_RUNNING[video.state]], video.crashes + 1
            after = State.FAILED if video.crashes >= MAX_CRASHES else run.waiting
            if after is run.waiting:
                video.run_at = world.now + crash_delay(video.crashes)
            world.move(video, run.running, after, video.fence)
    world.at(world.now + REAP, lambda: reap(world))


def simulate(seed: int) -> World:
    """One run of a few tenants, videos and workers. Raises Broken with the first invariant that does not hold."""
    draw = random.Random(seed)
    world = World(draw)
    tenants = [f"t{number}" for number in range(draw.randint(1, 4))]
    for tenant in tenants:
        cap, weight = draw.randint(1, 3), draw.choice((0.5, 1.0, 3.0))
        for stage in Stage:
            world.shares[stage, tenant] = Share(tenant, 0, cap=cap if stage is Stage.RENDER else 100, weight=weight)
    for _ in range(draw.randint(1, 8)):
        video = Video(draw.choice(tenants), draw.uniform(1, 20))
        world.at(draw.uniform(0, 60), lambda video=video: world.videos.append(video))
        if draw.random() < 0.15:
            world.at(draw.uniform(0, 200), lambda video=video: cancel(world, video))
    while not world.videos:
        world.now, _, what = heapq.heappop(world._agenda)
        what()
    for stage in Stage:
        for _ in range(draw.randint(1, 2)):
            Worker(world, stage)
    reap(world)
    world.run()
    check(world)
    return world


def cancel(world: World, video: Video) -> None:
    """A client changes its mind; too late is too late."""
    if video in world.videos and video.state not in TERMINAL:
        world.move(video, video.state, State.CANCELLED, video.fence)


def check(world: World) -> None:
    """What must hold when all is over."""
    if any(video.ends != 1 or video.results > 1 for video in world.videos):
        raise Broken("a video ended more than once")
    if any(share.running for share in world.shares.values()):
        raise Broken("a slot was never given back")
