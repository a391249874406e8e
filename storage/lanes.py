"""Which endpoint may be sent to now: something is due, its breaker lets it, its rate and its bound do.

A recursive hop over one index finds the endpoints with something ready, each by its earliest row, however many rows
wait behind it. So a receiver with a long backlog costs a claim as much as one with a single message. What must wait
for its time is not in that index: it is woken when the time has come, so that it never stands in front of what is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

VISITED = 1_000  # endpoints that one look takes in; the next one goes on behind them
_LOOKS = 20
WOKEN = 1_000  # deliveries that are woken at once
_NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Lane:
    """An endpoint with room. `limited`: it has a rate, so the delivery takes a slot."""

    endpoint_id: UUID
    limited: bool


def wake_for_any_tenant(connection: Connection, limit: int = WOKEN) -> int:
    """Make up to `limit` deliveries ready whose time has come, earliest first. Returns how many.

    In a transaction of its own: it locks deliveries before endpoints, but waits for none.
    """
    return connection.execute(WAKE, {"limit": limit}).rowcount


def choose_for_any_tenant(connection: Connection, after: UUID | None = None) -> Lane | None:
    """An endpoint that may be sent to now, of a tenant with the fewest deliveries in flight; None if there is none.

    Ties are decided by lot: first between tenants, then between the endpoints of one. `after` is where the caller was
    last, so that beyond VISITED endpoints everybody comes into view.
    """
    start = after or _NIL
    for _ in range(_LOOKS):
        row = connection.execute(CHOOSE, {"after": start, "visited": VISITED}).one()
        if row.endpoint_id is not None:
            return Lane(row.endpoint_id, row.limited)
        if row.visited < VISITED:
            return None
        start = row.last
    return None


def due_for_any_tenant(connection: Connection, limit: int) -> int:
    """Deliveries that could be claimed at this moment, counted up to `limit`."""
    start, counted = _NIL, 0
    for _ in range(_LOOKS):
        row = connection.execute(_COUNT, {"after": start, "visited": VISITED, "limit": limit}).one()
        counted += int(row.due)
        if counted >= limit or row.visited < VISITED or row.last <= start:
            break
        start = row.last
    return min(limit, counted)


# The time of the statement, not of the clock: only a stable time can be looked up in an index.
DUE = "state = 'pending' AND ready AND next_at <= statement_timestamp()"

WAKE = sa.text("""
UPDATE webhook_deliveries d SET ready = true FROM (
  SELECT message_id, endpoint_id FROM webhook_deliveries
  WHERE state = 'pending' AND NOT ready AND next_at <= statement_timestamp()
  ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
) AS waits
WHERE d.message_id = waits.message_id AND d.endpoint_id = waits.endpoint_id
""")

# Hops from endpoint to endpoint, around the end once, back to where it began.
LANES = f"""
WITH RECURSIVE hops AS (
  SELECT CAST(:after AS uuid) AS endpoint_id, CAST(NULL AS timestamptz) AS next_at, false AS wrapped
  UNION ALL
  SELECT coalesce(further.endpoint_id, CAST('{_NIL}' AS uuid)), further.next_at,
         hops.wrapped OR further.endpoint_id IS NULL
  FROM hops LEFT JOIN LATERAL (
    SELECT d.endpoint_id, d.next_at FROM webhook_deliveries d
    WHERE d.state = 'pending' AND d.ready AND d.endpoint_id > hops.endpoint_id
    ORDER BY d.endpoint_id, d.next_at LIMIT 1
  ) further ON true
  WHERE NOT hops.wrapped OR further.endpoint_id <= CAST(:after AS uuid)
), visited AS MATERIALIZED (
  SELECT endpoint_id, next_at FROM hops WHERE next_at IS NOT NULL LIMIT :visited
), flying AS MATERIALIZED (
  SELECT tenant_id, endpoint_id, count(*) AS n FROM webhook_deliveries
  WHERE state = 'pending' AND lease_until > statement_timestamp() GROUP BY tenant_id, endpoint_id
), open_lanes AS MATERIALIZED (
  SELECT e.tenant_id, e.id AS endpoint_id, e.rate IS NOT NULL AS limited, coalesce(n, 0) AS n,
         CASE WHEN e.open_until IS NULL THEN e.concurrency ELSE 1 END - coalesce(n, 0) AS room
  FROM visited
  JOIN webhook_endpoints e ON e.id = visited.endpoint_id
  LEFT JOIN flying ON flying.endpoint_id = visited.endpoint_id
  WHERE visited.next_at <= statement_timestamp()
    AND (e.open_until IS NULL OR e.open_until <= statement_timestamp())
    AND (e.slot_at IS NULL OR e.slot_at <= statement_timestamp())
), lanes AS (
  SELECT * FROM open_lanes WHERE room > 0
)"""  # noqa: S608 - the only insertion is our own constant

_SEEN = """
  SELECT count(*) AS visited, (SELECT endpoint_id FROM visited OFFSET :visited - 1 LIMIT 1) AS last FROM visited"""

CHOOSE = sa.text(f"""{LANES}, chosen AS (
  SELECT tenant_id FROM (SELECT DISTINCT tenant_id FROM lanes) AS tenants
  ORDER BY (SELECT coalesce(sum(n), 0) FROM flying WHERE flying.tenant_id = tenants.tenant_id), random() LIMIT 1
), lane AS (
  SELECT endpoint_id, limited FROM lanes WHERE tenant_id = (SELECT tenant_id FROM chosen)
  ORDER BY n, random() LIMIT 1
)
SELECT lane.endpoint_id, lane.limited, seen.visited, seen.last
FROM ({_SEEN}) AS seen
LEFT JOIN lane ON true
""")  # noqa: S608 - as above

_COUNT = sa.text(f"""{LANES}
SELECT seen.*, (SELECT coalesce(sum(waiting.n), 0) FROM lanes CROSS JOIN LATERAL (
  SELECT count(*) AS n FROM (
    SELECT 1 FROM webhook_deliveries d
    WHERE d.endpoint_id = lanes.endpoint_id AND {DUE}
    LIMIT least(lanes.room, CASE WHEN lanes.limited THEN 1 ELSE :limit END)
  ) AS few
) AS waiting WHERE lanes.endpoint_id > CAST(:after AS uuid)) AS due
FROM ({_SEEN}) AS seen
""")  # noqa: S608 - as above
