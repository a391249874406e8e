"""Storage as a state machine: any function at any time, beside a model in Python that says what must come of it."""

from __future__ import annotations

from functools import partial
from typing import Literal

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from domain.errors import Conflict, NotFound
from domain.lifecycle import RUNS, STAGE_OF_RUNNING, TERMINAL, TRANSITIONS, Stage, State
from domain.retries import MAX_CRASHES, MAX_FAILURES, crash_delay
from storage import housekeeping, interventions, leases, outputs
from storage.lifecycle import Move, move
from tests.fixtures.videos import AFTER
from tests.storage.ground import ACTOR, Ground
from tests.storage.known import ORPHANS, change

MOST = 12  # videos of one world
PICK = st.integers(0, 11)  # which of those that there are
WORKERS = ("one", "two", "three")
MAY_EXPIRE = {state for state in State if State.EXPIRED in TRANSITIONS[state]}


class Lives(Ground):
    """Tenants, three workers, and everything that storage can do to a video."""

    # --- what clients do ----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.known) < MOST)
    @rule(tenant=st.sampled_from([0, 0, 1]), priority=st.integers(-1, 1))
    def create(self, tenant: int, priority: int) -> None:
        of = self.tenants[tenant]
        self._make(of, priority, lambda: self.world.create(of, priority=priority))

    @precondition(lambda self: self.ended() and len(self.known) < MOST)
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        video, known = self._one(self.ended(), pick)
        again = partial(self._service, interventions.retry_for_any_tenant, ACTOR, video, 3600)
        if known.deleted:
            with pytest.raises(NotFound):
                again()
        else:
            self._make(known.tenant, known.priority, lambda: again().video.id)

    @precondition(lambda self: self.living())
    @rule(pick=PICK, how=st.sampled_from(["cancel", "delete", "expire"]))
    def end_early(self, pick: int, how: str) -> None:
        getattr(self, how)(pick)

    def cancel(self, pick: int) -> None:
        video, known = self._one(self.living(), pick)
        self._service(interventions.cancel_for_any_tenant, ACTOR, video)
        self._went(known, State.CANCELLED)

    def delete(self, pick: int) -> None:
        video, known = self._one(self.ended() if pick % 2 and self.ended() else self.living(), pick)
        if known.deleted:
            with pytest.raises(NotFound):
                self._service(interventions.delete_for_any_tenant, ACTOR, video)
            return
        self._service(interventions.delete_for_any_tenant, ACTOR, video)
        known.deleted = True
        if known.state not in TERMINAL:
            self._went(known, State.CANCELLED)
            known.told = False

    @precondition(lambda self: self.being(State.HELD))
    @rule(pick=PICK, decision=st.sampled_from(["allow", "allow", "block"]))
    def decide(self, pick: int, decision: Literal["allow", "block"]) -> None:
        video, known = self._one(self.being(State.HELD), pick)
        self._decide(video, decision)
        onwards = State.RENDERED if known.rendered else State.QUEUED
        self._went(known, State.BLOCKED if decision == "block" else onwards)

    @precondition(lambda self: self.ended())
    @rule(pick=PICK)
    def come_too_late(self, pick: int) -> None:
        """What is over can be neither cancelled, nor decided about, nor brought back by any statement."""
        video, known = self._one(self.ended(), pick)
        with pytest.raises(Conflict):
            self._decide(video, "allow")
        if known.state is not State.CANCELLED:
            with pytest.raises(Conflict):
                self._service(interventions.cancel_for_any_tenant, ACTOR, video)
        for after in set(State) - {known.state}:
            with pytest.raises(sa.exc.DBAPIError, match="cannot go from"):
                self._set(video, f"state = '{after}'")

    # --- what workers do ----------------------------------------------------------------------------------------------

    @initialize(moves=st.lists(PICK, min_size=5, max_size=25))
    def begin_with_a_crowd(self, moves: list[int]) -> None:
        for number in range(4):
            self.create(number % 2, 0)
        self.go_on(moves)

    @precondition(lambda self: self.living())
    @rule(moves=st.lists(PICK, min_size=1, max_size=8))
    def go_on(self, moves: list[int]) -> None:
        """As on a good day: some claim, some finish."""
        for pick in moves:
            if self.current() and pick % 2:
                self.finish(pick)
            elif any(map(self._best, Stage)):
                self.claim(pick, WORKERS[pick % 3])

    @precondition(lambda self: any(map(self._best, Stage)))
    @rule(pick=PICK, worker=st.sampled_from(WORKERS))
    def claim(self, pick: int, worker: str) -> None:
        stages = [stage for stage in Stage if self._best(stage)]
        stage = stages[pick % len(stages)]
        lease = self.world.claim(stage, worker)
        assert lease is not None, "something waits and nobody gets it"
        assert lease.video_id in self._best(stage), "not the best video of a tenant below its cap"
        known = self.known[lease.video_id]
        assert lease.fence == known.fence + 1
        self._went(known, RUNS[stage].running)
        known.fence = lease.fence
        self.leases.append(lease)

    @precondition(lambda self: not all(map(self._best, Stage)))
    @rule()
    def find_nothing(self) -> None:
        assert not any(self.world.claim(stage) for stage in Stage if not self._best(stage))

    @precondition(lambda self: self.current())
    @rule(pick=PICK, percent=st.integers(0, 99))
    def beat(self, pick: int, percent: int) -> None:
        lease = self._lease(pick)
        assert self._tenant(lease, leases.renew, lease, 3600.0, percent, {"phase": "denoise"})
        assert self._tenant(lease, leases.holds, lease)
        assert self._register(lease)
        self.known[lease.video_id].late = False

    @precondition(lambda self: self.current())
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        lease = self._lease(pick)
        assert self._finish(lease)
        self.known[lease.video_id].rendered |= lease.stage is Stage.RENDER
        self._went(self.known[lease.video_id], AFTER[lease.stage])

    @precondition(lambda self: self.current())
    @rule(pick=PICK, after=st.sampled_from([State.HELD, State.HELD, State.BLOCKED, State.FAILED]))
    def refuse(self, pick: int, after: State) -> None:
        lease = self._lease(pick)
        after = State.FAILED if lease.stage is Stage.RENDER else after
        assert self._tenant(lease, move, change(lease, after))
        self._went(self.known[lease.video_id], after)

    @precondition(lambda self: self.current())
    @rule(pick=PICK)
    def fail(self, pick: int) -> None:
        lease = self._lease(pick)
        known = self.known[lease.video_id]
        at_last = State.HELD if lease.stage is Stage.SCREEN else State.FAILED
        after = self._tenant(lease, leases.fail, lease, "no luck", f"{lease.stage}_failed", at_last)
        failures = known.failures + 1
        gives_up = failures >= MAX_FAILURES
        assert after is (at_last if gives_up else RUNS[lease.stage].waiting)
        self._went(known, after, **({} if gives_up else {"failures": failures}))
        if not gives_up:
            self._put_off(lease.video_id)

    @precondition(lambda self: self.current())
    @rule(pick=PICK, later=st.booleans())
    def hand_back(self, pick: int, later: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        lease = self._lease(pick)
        after = self._tenant(lease, leases.hand_back, lease, 60.0 if later else 0.0)
        assert after is RUNS[lease.stage].waiting
        self._went(self.known[lease.video_id], after)
        if later:
            self._put_off(lease.video_id)

    @precondition(lambda self: any(lease.stage is Stage.PUBLISH for lease in self.current()))
    @rule(pick=PICK)
    def find_drafts_gone(self, pick: int) -> None:
        """A publisher sends the video back to be rendered, once."""
        publishing = [lease for lease in self.current() if lease.stage is Stage.PUBLISH]
        lease = publishing[pick % len(publishing)]
        known = self.known[lease.video_id]
        after = self._tenant(lease, leases.render_again, lease, "publish_failed")
        assert after is (State.FAILED if known.undone else State.QUEUED)
        known.undone = True
        self._went(known, after)

    @precondition(lambda self: self.current())
    @rule(pick=PICK, beats_on=st.booleans())
    def crash(self, pick: int, beats_on: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        """A worker says nothing until its lease is over; it may still come back before the reaper does."""
        lease = self._lease(pick)
        self._set(lease.video_id, "lease_until = clock_timestamp() - interval '1 second'")
        self.known[lease.video_id].late = True
        if not beats_on:
            self.reap()

    @precondition(lambda self: self.current())
    @rule(worker=st.sampled_from(WORKERS))
    def end_by_force(self, worker: str) -> None:
        """Its parent says that a worker is dead: whatever it held is given back at once."""
        held = {lease.video_id: RUNS[lease.stage].waiting for lease in self.current() if lease.worker == worker}
        taken = self._service(leases.hand_back_all_for_any_tenant, [worker])
        assert {each.video_id: each.after for each in taken} == held
        for video, after in held.items():
            self._went(self.known[video], after)

    @precondition(lambda self: self.stale())
    @rule(pick=PICK)
    def wake_as_a_zombie(self, pick: int) -> None:
        """Whatever a worker wants to write under a lease that it has lost is refused."""
        lease = self.stale()[pick % len(self.stale())]
        self.done["refused"] += 6
        assert not self._finish(lease)
        assert not self._tenant(lease, leases.renew, lease, 3600.0, 99, None)
        assert not self._tenant(lease, leases.holds, lease)
        assert not self._register(lease)
        assert not self._tenant(lease, move, change(lease, State.FAILED))
        assert self._tenant(lease, leases.fail, lease, "late", "render_failed") is None
        assert self._tenant(lease, leases.hand_back, lease) is None

    # --- what time does -----------------------------------------------------------------------------------------------

    @rule()
    def reap(self) -> None:
        late = {video for video, known in self.known.items() if known.late}
        reaped = {each.video_id: each.after for each in self._service(leases.reap_for_any_tenant, 100)}
        assert set(reaped) == late
        for video, after in reaped.items():
            known = self.known[video]
            crashes, waiting = known.crashes + 1, RUNS[STAGE_OF_RUNNING[known.state]].waiting
            assert after is (State.FAILED if crashes >= MAX_CRASHES else waiting)
            self._went(known, after, **({} if after is State.FAILED else {"crashes": crashes}))
            if after is waiting and crash_delay(crashes):
                self._put_off(video)

    @precondition(lambda self: not all(known.ripe for known in self.known.values()))
    @rule()
    def wait_until_ripe(self) -> None:
        for video, known in self.known.items():
            if not known.ripe:
                self._set(video, "run_at = clock_timestamp()")
                known.ripe = True

    def expire(self, pick: int) -> None:
        video, known = self._one(self.living(), pick)
        self._set(video, "queue_deadline = clock_timestamp() - interval '1 second'")
        known.overdue = True
        due = {each for each, known in self.known.items() if known.overdue and known.state in MAY_EXPIRE}
        assert set(self._service(housekeeping.end_overdue_for_any_tenant, 100)) == due
        for each in due:
            self._went(self.known[each], State.EXPIRED)

    @precondition(lambda self: self.ended())
    @rule(pick=PICK)
    def outlast_retention(self, pick: int) -> None:
        video, known = self._one(self.ended(), pick)
        self._set(video, "expires_at = clock_timestamp() - interval '1 second'")
        forgotten = self._service(housekeeping.forget_expired_for_any_tenant, 100)
        assert list(forgotten) == ([] if known.deleted else [video])
        known.deleted = True

    @rule()
    def sweep(self) -> None:
        """What somebody may still read is never given to the sweeper."""
        doomed = self._service(outputs.take_doomed_for_any_tenant, 0.0, 0.0, 1000)
        readable = "SELECT object_key FROM outputs WHERE tenant_id = ANY(:tenants)"
        assert not {each.key for each in doomed} & {row.object_key for row in self._rows(readable)}
        self._service(outputs.swept_for_any_tenant, doomed, 0.0)

    @precondition(lambda self: self.known)
    @rule(pick=PICK, before=st.sampled_from(State), after=st.sampled_from(State), behind=st.integers(0, 2))
    def expect_what_is_not_so(self, pick: int, before: State, after: State, behind: int) -> None:
        """A move that expects another state, or another fence, changes nothing."""
        video, known = self._one(self.known, pick)
        if (before, behind) != (known.state, 0):
            wrong = Move(known.tenant, video, before, after, known.fence - behind)
            with self.world.database.transaction(known.tenant) as connection:
                assert not move(connection, wrong)

    # --- when all is over ---------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """When all is over, every slot is free, every ledger closed, and only results are left in the store."""
        while self.living():
            self.cancel(0)
        self.every_video_is_as_the_model_says()
        self.slots_are_what_runs_and_quotas_what_is_held()
        assert self._rows(ORPHANS) == []
        self.done.update(f"ended {known.state}" for known in self.known.values())
