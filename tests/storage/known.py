"""What the model of `tests.storage.machine` knows of a video, and where the database says the same."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from domain.lifecycle import RUNS, STAGE_OF_WAITING, TERMINAL, State, allows
from storage.lifecycle import Move
from storage.schedule import Lease

VIDEOS = """
SELECT v.id, v.state, v.fence, v.event_seq, v.failures, v.crashes, v.deleted_at IS NOT NULL AS deleted,
  (SELECT count(*) FROM events e WHERE e.video_id = v.id) AS events,
  (SELECT e.type FROM events e WHERE e.video_id = v.id ORDER BY e.seq DESC LIMIT 1) AS last_event,
  (SELECT coalesce(sum(l.micros), 0) FROM ledger l WHERE l.video_id = v.id AND l.kind <> 'charge') AS held,
  (SELECT coalesce(sum(l.micros), 0) FROM ledger l WHERE l.video_id = v.id AND l.kind = 'charge') AS charged,
  (SELECT count(*) FROM attempts a WHERE a.video_id = v.id AND a.ended_at IS NULL) AS open_attempts,
  (SELECT count(*) FROM outputs o WHERE o.video_id = v.id) AS outputs,
  (SELECT count(*) FROM webhook_messages m
   WHERE m.video_id = v.id AND m.type IN ('video.completed', 'video.failed')) AS messages
FROM videos v WHERE v.tenant_id = ANY(:tenants)
"""
SLOTS = "SELECT tenant_id, queue, running FROM tenant_sched WHERE tenant_id = ANY(:tenants)"
ORPHANS = """
SELECT key FROM objects b WHERE tenant_id = ANY(:tenants) AND doomed_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM outputs o WHERE o.object_key = b.key)
"""


@dataclass
class Known:
    """What the model knows of one video."""

    tenant: UUID
    priority: int
    state: State = State.RECEIVED
    fence: int = 0
    events: int = 1
    failures: int = 0
    crashes: int = 0
    ripe: bool = True  # may be claimed now
    late: bool = False  # its lease ran out
    overdue: bool = False  # waited for too long
    rendered: bool = False
    undone: bool = False  # its drafts were lost once
    deleted: bool = False
    told: bool = False  # its end has a message

    def go(self, after: State, **counts: int) -> None:
        """One move of the table, with what every move does to the counts."""
        assert allows(self.state, after), f"{self.state} may not become {after}"
        assert self.state not in TERMINAL
        again = after in STAGE_OF_WAITING and RUNS[STAGE_OF_WAITING[after]].running is self.state
        if after in STAGE_OF_WAITING and not again:
            self.failures = self.crashes = 0
        self.failures = counts.get("failures", self.failures)
        self.crashes = counts.get("crashes", self.crashes)
        self.state, self.ripe, self.late = after, True, False
        self.events += 1
        self.told = self.told or after in TERMINAL


def change(lease: Lease, after: State) -> Move:
    """What a worker writes when its stage is over."""
    failed = after in {State.FAILED, State.BLOCKED}
    return Move(
        lease.tenant_id,
        lease.video_id,
        RUNS[lease.stage].running,
        after,
        lease.fence,
        error_code="render_failed" if failed else None,
        error_message="-" if failed else None,
    )
