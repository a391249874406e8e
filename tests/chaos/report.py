"""What a run must never show, counted in the database and at the receiver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import psycopg

from domain.lifecycle import TERMINAL, TRANSITIONS, State
from storage.tables import LIVING

# What still moves: videos first, then what follows from their ends.
UNSETTLED = f"SELECT count(*) FROM videos WHERE {LIVING}"  # noqa: S608 - our own states
COMPLETED = "SELECT count(*) FROM videos WHERE state = 'completed'"
UNSWEPT = "SELECT count(*) FROM objects WHERE doomed_at IS NOT NULL"
UNDELIVERED = "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'"


@dataclass(frozen=True)
class Report:
    """Counts. All of `faults()` must be 0."""

    accepted: int
    not_accepted: int  # asked for, and nobody took it
    completed: int
    cancelled: int
    failed: int
    cancelled_unasked: int  # ended as cancelled, and nobody wanted that
    lost: int  # accepted, and not there or not at an end
    doubled_creates: int  # more videos than were asked for
    doubled_outputs: int  # videos with other than one file of each kind, or files of a fence that is not the last
    doubled_events: int  # terminal messages beyond one of a video
    missing_messages: int  # ends that no receiver was told of
    illegal_transitions: int
    unbalanced: int  # videos whose ledger does not close
    slots_held: int  # renderer slots that nobody gave back
    orphans: int  # objects that are neither of a result nor swept, by their rows and by the store's own list
    wrong_files: int  # results whose bytes are not those that the row says
    render_attempts: int
    crashed_attempts: int  # whose lease ran out
    zombie_finishes_rejected: int  # of these, whose worker came back and wanted to write its result
    zombies_stopped: int  # of these, whose worker came back and saw in time that it had lost
    orphans_swept: int  # files of attempts that did not count
    deliveries: int
    failures: dict[str, int]  # error codes of those that failed

    def faults(self) -> dict[str, int]:
        """What must be 0, by name, where it is not."""
        asked = (
            "not_accepted failed cancelled_unasked lost doubled_creates doubled_outputs doubled_events"
            " missing_messages illegal_transitions"
            " unbalanced slots_held orphans wrong_files"
        )
        values = asdict(self)
        return {name: values[name] for name in asked.split() if values[name]}


@dataclass(frozen=True)
class Asked:
    """What a client wants to have: so many videos, the ids that it was given, and those of them that it cancelled."""

    videos: int
    accepted: Sequence[str]
    cancelled: Sequence[str] = ()


@dataclass(frozen=True)
class Files:
    """What the object store and the logs say: keys in the store, results that are not what their row says, sweeps."""

    stored: frozenset[str]
    wrong: int
    swept: int


def examine(url: str, asked: Asked, told: Mapping[str, str], files: Files) -> Report:
    """Count everything once the dust has settled. `told` is webhook id -> video id at the receiver."""
    with psycopg.connect(url, connect_timeout=5, options="-c statement_timeout=20s") as connection:

        def number(query: str) -> int:
            row = connection.execute(query).fetchone()  # type: ignore[arg-type] - psycopg wants literal text, these are our own
            return int(row[0]) if row else 0

        states = dict(connection.execute("SELECT 'video_' || replace(id::text, '-', ''), state FROM videos").fetchall())
        ended = {video for video, state in states.items() if State(state) in TERMINAL}
        heard = Counter(told.values())
        rows = {key for (key,) in connection.execute("SELECT object_key FROM outputs").fetchall()}
        return Report(
            accepted=len(asked.accepted),
            not_accepted=asked.videos - len(set(asked.accepted)),
            completed=sum(state == "completed" for state in states.values()),
            cancelled=sum(state == "cancelled" for state in states.values()),
            failed=sum(state in {"failed", "blocked", "expired"} for state in states.values()),
            cancelled_unasked=len({video for video in ended if states[video] == "cancelled"} - set(asked.cancelled)),
            lost=len(set(asked.accepted) - ended),
            doubled_creates=len(states) - len(set(asked.accepted)),
            doubled_outputs=number(DOUBLED_OUTPUTS),
            doubled_events=sum(count - 1 for count in heard.values()) + number(DOUBLED_MESSAGES),
            missing_messages=len(ended - set(heard)),
            illegal_transitions=illegal(connection),
            unbalanced=number(UNBALANCED),
            slots_held=number("SELECT coalesce(sum(running), 0) FROM tenant_sched"),
            orphans=max(number(UNSWEPT), len(files.stored - rows)),
            wrong_files=files.wrong,
            render_attempts=number("SELECT count(*) FROM attempts WHERE stage = 'render'"),
            crashed_attempts=number(
                "SELECT count(*) FROM attempts WHERE outcome IN ('crashed', 'rejected', 'stopped')"
            ),
            zombie_finishes_rejected=number("SELECT count(*) FROM attempts WHERE outcome = 'rejected'"),
            zombies_stopped=number("SELECT count(*) FROM attempts WHERE outcome = 'stopped'"),
            orphans_swept=max(0, files.swept - number(DRAFTS)),
            deliveries=number("SELECT count(*) FROM webhook_attempts"),
            failures=dict(connection.execute(FAILURES).fetchall()),
        )


FAILURES = """
  SELECT coalesce(error_code, state), count(*)::int FROM videos
  WHERE state IN ('failed', 'blocked', 'expired') GROUP BY 1
"""


def illegal(connection: psycopg.Connection) -> int:
    """Neighbouring events that are no move of the table, and gaps in their numbers."""
    rows = connection.execute(
        "SELECT video_id, seq, type, lag(type) OVER mine, lag(seq) OVER mine FROM events"
        " WINDOW mine AS (PARTITION BY video_id ORDER BY seq)"
    ).fetchall()
    wrong = 0
    for _, seq, after, before, previous in rows:
        if before is None:
            wrong += (seq, after) != (1, State.RECEIVED)
        else:
            wrong += seq != previous + 1 or State(after) not in TRANSITIONS[State(before)]
    return wrong


# Drafts of renders that counted are swept too, but they were no orphans.
DRAFTS = "SELECT 3 * count(*) FROM attempts WHERE stage = 'render' AND outcome = 'done'"
DOUBLED_OUTPUTS = """
SELECT count(*) FROM (
  SELECT v.id FROM videos v LEFT JOIN outputs o ON o.video_id = v.id
  GROUP BY v.id, v.state, v.fence
  HAVING count(o.kind) <> CASE WHEN v.state = 'completed' THEN 3 ELSE 0 END
      OR count(DISTINCT o.kind) <> count(o.kind)
      OR bool_or(o.object_key NOT LIKE '%/' || v.fence || '/%')
) AS wrong
"""
DOUBLED_MESSAGES = """
SELECT coalesce(sum(n - 1), 0) FROM (
  SELECT count(*) AS n FROM webhook_messages WHERE type IN ('video.completed', 'video.failed') GROUP BY video_id
) AS counted
"""
UNBALANCED = """
SELECT count(*) FROM (
  SELECT v.id FROM videos v LEFT JOIN ledger l ON l.video_id = v.id GROUP BY v.id, v.state, v.price_micros
  HAVING count(l.kind) = 0
      OR coalesce(sum(l.micros) FILTER (WHERE l.kind IN ('hold', 'release')), 0) <> 0
      OR coalesce(sum(l.micros) FILTER (WHERE l.kind = 'charge'), 0)
         <> CASE WHEN v.state = 'completed' THEN v.price_micros ELSE 0 END
) AS wrong
"""
