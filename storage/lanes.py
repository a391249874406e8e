"""Which endpoint may be sent to now: something is due, its breaker lets it, its rate and its bound do.

A recursive hop over one index finds the endpoints with something pending, each by its earliest row, however many rows
wait behind it. So a receiver with a long backlog costs a claim as much as one with a single message.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

VISITED = 1_000  # endpoints that one look takes in; the next one goes on behind them
_LOOKS = 20
_NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Lane:
    """An endpoint with room. `limited`: it has a rate, so the delivery takes a slot."""

    endpoint_id: UUID
    limited: bool


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
    counted = connection.scalar(_COUNT, {"after": _NIL, "visited": VISITED, "limit": limit})
    return min(limit, int(counted or 0))


# The time of the statement, not of the clock: only a stable time can be looked up in an index.
DUE = "state = 'pending' AND next_at <= statement_timestamp()"

# Hops from endpoint to endpoint, around the end once, back to where it began.
LANES = f"""
WITH RECURSIVE hops AS (
  SELECT CAST(:after AS uuid) AS endpoint_id, CAST(NULL AS timestamptz) AS next_at, false AS wrapped
  UNION ALL
  SELECT coalesce(further.endpoint_id, CAST('{_NIL}' AS uuid)), further.next_at,
         hops.wrapped OR further.endpoint_id IS NULL
  FROM hops LEFT JOIN LATERAL (
    SELECT d.endpoint_id, d.next_at FROM webhook_deliveries d
    WHERE d.state = 'pending' AND d.endpoint_id > hops.endpoint_id
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

CHOOSE = sa.text(f"""{LANES}, chosen AS (
  SELECT tenant_id FROM (SELECT DISTINCT tenant_id FROM lanes) AS tenants
  ORDER BY (SELECT coalesce(sum(n), 0) FROM flying WHERE flying.tenant_id = tenants.tenant_id), random() LIMIT 1
), lane AS (
  SELECT endpoint_id, limited FROM lanes WHERE tenant_id = (SELECT tenant_id FROM chosen)
  ORDER BY n, random() LIMIT 1
)
SELECT lane.endpoint_id, lane.limited, seen.visited, seen.last
FROM (SELECT count(*) AS visited, (SELECT endpoint_id FROM visited OFFSET :visited - 1 LIMIT 1) AS last
      FROM visited) AS seen
LEFT JOIN lane ON true
""")  # noqa: S608 - as above

_COUNT = sa.text(f"""{LANES}
SELECT sum(waiting.n) FROM lanes CROSS JOIN LATERAL (
  SELECT count(*) AS n FROM (
    SELECT 1 FROM webhook_deliveries d
    WHERE d.endpoint_id = lanes.endpoint_id AND {DUE}
    LIMIT least(lanes.room, CASE WHEN lanes.limited THEN 1 ELSE :limit END)
  ) AS few
) AS waiting
""")  # noqa: S608 - as above
