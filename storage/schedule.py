"""The fair claim: `domain.schedule` in SQL. One claim at a time per queue, so that no cap is ever overrun."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from domain.lifecycle import RUNS, Stage
from storage import guard
from storage.announcements import announce_start
from storage.tables import CLAIMABLE, NOW, attempts, events, tenant_sched, videos

LIGHT_COST_MS = 1  # what screening and publishing cost in their queues
LIGHT_CAP = 1_000_000  # only renderers are scarce


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one stage of one video, until it is renewed no more."""

    tenant_id: UUID
    video_id: UUID
    stage: Stage
    queue: str
    fence: int
    worker: str
    claimed_at: datetime
    crashes: int = 0  # of the stage so far: workers that died over it, by its fault or not


def held_by(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    """The guard of every write under a lease: the video is in the stage's running state, at this fence."""
    return guard.expected(lease.tenant_id, lease.video_id, RUNS[lease.stage].running, lease.fence)


def claim_for_any_tenant(
    connection: Connection, stage: Stage, queue: str, worker: str, lease_seconds: float, *, beside: bool = False
) -> Lease | None:
    """Take the best video of the tenant whose turn it is; None when nobody may run.

    The lock comes first and alone: the choice, as a statement of its own, then sees what the last claim committed.
    Clocks move by claims only, so it is here that tenants with nothing to do are put to sleep. `beside`: the worker has
    another video. One that has met a crash is then not taken, nor anything behind it, or it would never be its turn.
    """
    connection.execute(_LOCK, {"queue": queue})
    row = connection.execute(
        _CLAIM[stage],
        {
            "queue": queue,
            "worker": worker,
            "lease": timedelta(seconds=lease_seconds),
            "light": LIGHT_CAP,
            "beside": beside,
        },
    ).one_or_none()
    if row is None:
        return None
    lease = Lease(row.tenant_id, row.id, stage, queue, row.fence, worker, row.claimed_at, row.crashes)
    charged = row.estimate_ms if stage is Stage.RENDER else LIGHT_COST_MS
    _record(connection, lease, row.event_seq, charged)
    _charge(connection, lease, charged, row.weight)
    if stage is Stage.RENDER:
        announce_start(connection, lease.tenant_id, lease.video_id)
    return lease


def claimable_for_any_tenant(connection: Connection, stage: Stage, queue: str) -> bool:
    """Whether a claim would take something now. It is tried and undone: nothing else knows all that a claim weighs."""
    tried = connection.begin_nested()
    taken = claim_for_any_tenant(connection, stage, queue, "nobody", 0.0)
    tried.rollback()
    return taken is not None


def waiting_for_any_tenant(connection: Connection, queue: str, limit: int) -> int:
    """Claimable videos of one queue, counted up to `limit`; caps are not looked at."""
    some = (
        sa.select(sa.literal(1))
        .where(videos.c.queue == queue, sa.text(CLAIMABLE), videos.c.run_at <= NOW)
        .limit(limit)
        .subquery()
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def release(connection: Connection, tenant_id: UUID, queue: str, charged_ms: int, cost_ms: int) -> None:
    """One video less at work; the clock corrected from what was charged to what it cost."""
    connection.execute(_RELEASE, {"tenant": tenant_id, "queue": queue, "correction": float(cost_ms - charged_ms)})


def _record(connection: Connection, lease: Lease, event_seq: int, charged_ms: int) -> None:
    of_video = {"tenant_id": lease.tenant_id, "video_id": lease.video_id}
    connection.execute(
        sa.insert(events).values(**of_video, seq=event_seq, type=RUNS[lease.stage].running, data={"fence": lease.fence})
    )
    connection.execute(
        sa.insert(attempts).values(
            **of_video, fence=lease.fence, stage=lease.stage, worker=lease.worker, charged_ms=charged_ms
        )
    )


def _charge(connection: Connection, lease: Lease, charged_ms: int, weight: float) -> None:
    lowest = (
        sa.select(sa.func.min(tenant_sched.c.vtime))
        .where(tenant_sched.c.queue == lease.queue, sa.not_(tenant_sched.c.asleep))
        .scalar_subquery()
    )
    charge = charged_ms / weight
    mine = insert(tenant_sched).values(
        tenant_id=lease.tenant_id, queue=lease.queue, running=1, vtime=sa.func.coalesce(lowest, 0.0) + charge
    )
    woken = sa.case((tenant_sched.c.asleep, sa.func.greatest(tenant_sched.c.vtime, lowest)), else_=tenant_sched.c.vtime)
    connection.execute(
        mine.on_conflict_do_update(
            index_elements=["queue", "tenant_id"],
            set_={"running": tenant_sched.c.running + 1, "vtime": woken + charge, "asleep": False},
        )
    )


_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kinema queue ' || :queue, 0))")

# States are written into the text, never bound: only then does the partial index apply.
_CLAIM_SQL = """
WITH RECURSIVE backlogged AS (
  (SELECT tenant_id FROM videos
   WHERE queue = :queue AND state = '{waiting}' AND run_at <= clock_timestamp()
   ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT v.tenant_id FROM videos v
          WHERE v.queue = :queue AND v.state = '{waiting}' AND v.run_at <= clock_timestamp()
            AND v.tenant_id > b.tenant_id
          ORDER BY v.tenant_id LIMIT 1)
  FROM backlogged b WHERE b.tenant_id IS NOT NULL
), idle AS (
  SELECT tenant_id FROM tenant_sched WHERE queue = :queue AND NOT asleep AND running = 0
  EXCEPT SELECT tenant_id FROM backlogged
), dozed AS (
  UPDATE tenant_sched SET asleep = true WHERE queue = :queue AND tenant_id IN (SELECT tenant_id FROM idle)
), lowest AS (
  SELECT coalesce(min(vtime), 0) AS vtime FROM tenant_sched
  WHERE queue = :queue AND NOT asleep AND tenant_id NOT IN (SELECT tenant_id FROM idle)
), chosen AS (
  SELECT b.tenant_id, t.weight
  FROM backlogged b
  JOIN tenants t ON t.id = b.tenant_id
  CROSS JOIN lowest
  LEFT JOIN tenant_sched s ON s.queue = :queue AND s.tenant_id = b.tenant_id
  WHERE coalesce(s.running, 0) < {cap}
  ORDER BY CASE WHEN s.asleep IS NOT FALSE THEN greatest(s.vtime, lowest.vtime) ELSE s.vtime END,
           s.asleep IS NOT FALSE DESC, b.tenant_id
  LIMIT 1
)
UPDATE videos SET
  state = '{running}', fence = fence + 1, event_seq = event_seq + 1, worker = :worker,
  claimed_at = clock_timestamp(), lease_until = clock_timestamp() + :lease, stage_progress = NULL
WHERE id = (
  SELECT v.id FROM videos v
  WHERE v.queue = :queue AND v.state = '{waiting}' AND v.run_at <= clock_timestamp()
    AND v.tenant_id = (SELECT tenant_id FROM chosen)
  ORDER BY v.priority DESC, v.id LIMIT 1
) AND state = '{waiting}' AND (crashes = 0 OR NOT CAST(:beside AS boolean))
RETURNING id, tenant_id, fence, event_seq, estimate_ms, claimed_at, crashes, (SELECT weight FROM chosen) AS weight
"""


def _claim_statement(stage: Stage) -> sa.TextClause:
    cap = "CAST(t.render_cap AS bigint)" if stage is Stage.RENDER else ":light"
    run = RUNS[stage]
    return sa.text(_CLAIM_SQL.format(waiting=run.waiting, running=run.running, cap=cap))


_CLAIM = {stage: _claim_statement(stage) for stage in Stage}

_RELEASE = sa.text("""
UPDATE tenant_sched SET
  running = running - 1,
  vtime = vtime + :correction / (SELECT weight FROM tenants WHERE id = :tenant)
WHERE queue = :queue AND tenant_id = :tenant
""")
