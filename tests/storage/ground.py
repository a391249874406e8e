"""What stands under the state machine: its world, what always holds there, and how to reach it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis.stateful import RuleBasedStateMachine, invariant

from domain.administration import Actor
from domain.errors import QuotaExceeded
from domain.ledger import Meter
from domain.lifecycle import RUNS, STAGE_OF_RUNNING, TERMINAL, Stage, State
from domain.quotas import Period
from storage import interventions, ledger, outputs
from storage.lifecycle import move
from storage.outputs import CONTENT_TYPES, Kind, Output
from storage.schedule import Lease
from tests.fixtures.videos import AFTER, QUEUES, World
from tests.storage.known import SLOTS, VIDEOS, Known, change

ACTOR = Actor("cli:machine")
PRICE = 10_000
CAPS = (1, 2)  # renderers that each tenant may use at once
ALLOWED = 6 * PRICE  # of the second tenant


class Ground(RuleBasedStateMachine):
    """Two tenants, one of them with a limit, and the model of all their videos."""

    world: World  # given by the test, which makes a subclass
    done: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[UUID, Known] = {}
        self.leases: list[Lease] = []
        self.tenants = [self.world.tenant("machine", render_cap=cap) for cap in CAPS]
        with self.world.database.transaction_for_any_tenant() as connection:
            ledger.set_limit(connection, self.tenants[1], Meter.MICROS, ALLOWED, Period.TOTAL)

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def count(self) -> None:
        self.done["steps"] += 1

    @invariant()
    def every_video_is_as_the_model_says(self) -> None:
        rows = self._rows(VIDEOS)
        assert len(rows) == len(self.known)
        for row in rows:
            known = self.known[row.id]
            expected = (known.state, known.fence, known.events, known.failures, known.crashes, known.deleted)
            assert (row.state, row.fence, row.event_seq, row.failures, row.crashes, row.deleted) == expected
            assert (row.last_event, row.events) == (known.state, known.events), "an event for each move"
            over, completed = known.state in TERMINAL, known.state is State.COMPLETED
            assert row.held == (0 if over else PRICE), "a hold is given back at the end, once"
            assert row.charged == (PRICE if completed else 0)
            assert row.open_attempts == (known.state in STAGE_OF_RUNNING)
            assert row.outputs == (3 if completed and not known.deleted else 0)
            assert row.messages == known.told

    @invariant()
    def slots_are_what_runs_and_quotas_what_is_held(self) -> None:
        running = Counter(
            (known.tenant, QUEUES[STAGE_OF_RUNNING[known.state]])
            for known in self.known.values()
            if known.state in STAGE_OF_RUNNING
        )
        counted = {(row.tenant_id, row.queue): row.running for row in self._rows(SLOTS) if row.running}
        assert counted == dict(running)
        assert all(running[tenant, QUEUES[Stage.RENDER]] <= cap for tenant, cap in zip(self.tenants, CAPS, strict=True))
        quota = self._rows("SELECT held, used FROM quotas WHERE tenant_id = ANY(:tenants)")
        assert [tuple(row) for row in quota] == [self._quota()]

    # --- how ----------------------------------------------------------------------------------------------------------

    def living(self) -> dict[UUID, Known]:
        return {video: known for video, known in self.known.items() if known.state not in TERMINAL}

    def ended(self) -> dict[UUID, Known]:
        return self.being(*TERMINAL)

    def being(self, *states: State) -> dict[UUID, Known]:
        return {video: known for video, known in self.known.items() if known.state in states}

    def current(self) -> list[Lease]:
        return [lease for lease in self.leases if self._holds(lease)]

    def stale(self) -> list[Lease]:
        return [lease for lease in self.leases if not self._holds(lease)]

    def _holds(self, lease: Lease) -> bool:
        known = self.known[lease.video_id]
        return known.fence == lease.fence and known.state is RUNS[lease.stage].running

    def _one(self, among: Mapping[UUID, Known], pick: int) -> tuple[UUID, Known]:
        return list(among.items())[pick % len(among)]

    def _lease(self, pick: int) -> Lease:
        return self.current()[pick % len(self.current())]

    def _make(self, tenant: UUID, priority: int, make: Callable[[], UUID]) -> None:
        if tenant == self.tenants[1] and sum(self._quota()) + PRICE > ALLOWED:
            self.done["over the quota"] += 1
            with pytest.raises(QuotaExceeded):
                make()
        else:
            self.known[make()] = Known(tenant, priority)

    def _quota(self) -> tuple[int, int]:
        """What the second tenant holds, and was charged."""
        states = [known.state for known in self.known.values() if known.tenant == self.tenants[1]]
        held = sum(state not in TERMINAL for state in states)
        return PRICE * held, PRICE * states.count(State.COMPLETED)

    def _best(self, stage: Stage) -> set[UUID]:
        """Of each tenant that may run one more, the video whose turn it is."""
        cap = dict(zip(self.tenants, CAPS, strict=True)) if stage is Stage.RENDER else {}
        of: dict[UUID, list[UUID]] = {tenant: [] for tenant in self.tenants}
        for video, known in self.known.items():
            if known.state is RUNS[stage].waiting and known.ripe:
                of[known.tenant].append(video)
        running = Counter(known.tenant for known in self.known.values() if known.state is RUNS[stage].running)
        ready = [waiting for tenant, waiting in of.items() if waiting and running[tenant] < cap.get(tenant, 1000)]
        return {min(waiting, key=lambda video: (-self.known[video].priority, video)) for waiting in ready}

    def _finish(self, lease: Lease) -> bool:
        after = AFTER[lease.stage]
        with self.world.database.transaction(lease.tenant_id) as connection:
            moved = move(connection, change(lease, after))
            if moved and after is State.COMPLETED:
                files = [Output(kind, outputs.key(lease, kind), CONTENT_TYPES[kind], b"", 1) for kind in Kind]
                outputs.publish(connection, lease.tenant_id, lease.video_id, files)
        return moved

    def _went(self, known: Known, after: State, **counts: int) -> None:
        self.done[f"{known.state} to {after}"] += 1
        known.go(after, **counts)

    def _put_off(self, video: UUID) -> None:
        """The delay takes as long as the machine wants."""
        self._set(video, "run_at = clock_timestamp() + interval '1 hour'")
        self.known[video].ripe = False

    def _register(self, lease: Lease) -> bool:
        if lease.stage is Stage.PUBLISH:
            keys = [outputs.key(lease, kind) for kind in Kind]
            return self._tenant(lease, outputs.register, lease, "output", keys)
        return self._tenant(lease, outputs.register, lease, "draft", [*outputs.drafts_of(lease, lease.fence).values()])

    def _decide(self, video: UUID, decision: Literal["allow", "block"]) -> None:
        with self.world.database.transaction_for_any_tenant() as connection:
            interventions.decide_for_any_tenant(connection, ACTOR, video, decision=decision)

    def _tenant(self, lease: Lease, call: Callable[..., Any], *arguments: Any) -> Any:
        with self.world.database.transaction(lease.tenant_id) as connection:
            return call(connection, *arguments)

    def _service(self, call: Callable[..., Any], *arguments: Any) -> Any:
        with self.world.database.transaction_for_any_tenant() as connection:
            return call(connection, *arguments)

    def _set(self, video: UUID, what: str) -> None:
        with self.world.database.transaction_for_any_tenant() as connection:
            connection.execute(sa.text(f"UPDATE videos SET {what} WHERE id = :id"), {"id": video})  # noqa: S608 - our own

    def _rows(self, query: str) -> list[Any]:
        with self.world.database.transaction_for_any_tenant() as connection:
            return list(connection.execute(sa.text(query), {"tenants": self.tenants}).all())
