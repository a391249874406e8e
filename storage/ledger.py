"""Ledger entries, and the quotas that follow them: the last locks of a transaction.

A quota's row says what living videos hold and what was charged in its period. Both follow from the ledger, entry by
entry, so that an end in a later period than its create gives back exactly what the create has set aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from domain.ledger import Account, Amounts, Entry, Kind, Meter, used
from domain.quotas import Period, Quota
from storage.tables import LIVING, NOW, ledger, quotas, tenants, videos

NEVER = datetime.max.replace(tzinfo=UTC)


def hold(connection: Connection, tenant_id: UUID, video_id: UUID, amounts: Amounts, account: Account) -> None:
    """Set the amounts aside. Raises QuotaExceeded, on which the caller's transaction must end, beyond a limit.

    The video was inserted in the same transaction, by an earlier statement: it shares the tenant's row lock, so no
    limit is set between the moment that this statement sees and its end.
    """
    entry = {"video": video_id, "key": account.key_id, "model": account.model, "labels": account.labels}
    rows = connection.execute(_HOLD, {"tenant": tenant_id, **entry, **_deltas(amounts)}).mappings()
    over = [quota for quota in map(_quota, rows) if quota.left < 0]
    if over:
        last = max(over, key=lambda quota: quota.resets_at or NEVER)
        raise last.refusal(amounts.of(last.meter))


def settle(connection: Connection, tenant_id: UUID, video_id: UUID, *, gpu_ms: int, completed: bool) -> None:
    """Give back what was set aside, and charge what was used."""
    mine = (ledger.c.tenant_id == tenant_id, ledger.c.video_id == video_id, ledger.c.kind == Kind.HOLD)
    row = connection.execute(sa.select(ledger).where(*mine)).mappings().one()
    held = Amounts(row["micros"], row["video_ms"], row["gpu_ms"])
    released, charge = held.released(), used(held, gpu_ms, completed=completed)
    at = _write(connection, tenant_id, video_id, Entry(Kind.RELEASE, released), {})
    if charge is not None:
        billed = {name: row[name] for name in ("key_id", "model", "labels")}
        at = _write(connection, tenant_id, video_id, Entry(Kind.CHARGE, charge), billed)
    _count(connection, tenant_id, at, held=released, charged=charge or Amounts())


def limits(connection: Connection, tenant_id: UUID) -> tuple[Quota, ...]:
    """The tenant's limits as they stand now, by meter."""
    query = sa.select(quotas, NOW.label("now")).where(quotas.c.tenant_id == tenant_id).order_by(quotas.c.meter)
    return tuple(_quota(row).at(row["now"]) for row in connection.execute(query).mappings())


def set_limit(connection: Connection, tenant_id: UUID, meter: Meter, limit: int, period: Period) -> Quota:
    """Limit what the tenant may use; what it holds and has used in this period counts. For the service's role."""
    _wait_for_entries(connection, tenant_id)
    since = period.start(connection.execute(sa.select(NOW)).scalar_one())
    counted = {
        "period": period,
        "allowed": limit,
        "held": _held(connection, tenant_id, meter),
        "used": _charged(connection, tenant_id, meter, since),
        "since": since,
    }
    connection.execute(sa.delete(quotas).where(quotas.c.tenant_id == tenant_id, quotas.c.meter == meter))
    row = sa.insert(quotas).values(tenant_id=tenant_id, meter=meter, **counted).returning(quotas)
    return _quota(connection.execute(row).mappings().one())


def clear_limit(connection: Connection, tenant_id: UUID, meter: Meter) -> bool:
    """Let the tenant use as much as it likes. False if there was no limit."""
    gone = sa.delete(quotas).where(quotas.c.tenant_id == tenant_id, quotas.c.meter == meter)
    return connection.execute(gone).rowcount == 1


def _write(
    connection: Connection, tenant_id: UUID, video_id: UUID, entry: Entry, billed: Mapping[str, Any]
) -> datetime:
    numbers = {meter.value: entry.amounts.of(meter) for meter in Meter}
    row = sa.insert(ledger).values(tenant_id=tenant_id, video_id=video_id, kind=entry.kind, **numbers, **billed)
    return connection.execute(row.returning(ledger.c.at)).scalar_one()


def _count(
    connection: Connection, tenant_id: UUID, at: datetime, *, held: Amounts, charged: Amounts | None = None
) -> tuple[Quota, ...]:
    """Add to every quota of the tenant; none if it has no limit. `at` is the entry's moment, and decides the period."""
    values = {"tenant": tenant_id, "at": at, **_deltas(held, charged)}
    return tuple(_quota(row) for row in connection.execute(_COUNT, values).mappings())


def _deltas(held: Amounts, charged: Amounts | None = None) -> dict[str, int]:
    return {f"{meter}_held": held.of(meter) for meter in Meter} | {
        f"{meter}_used": charged.of(meter) if charged else 0 for meter in Meter
    }


def _wait_for_entries(connection: Connection, tenant_id: UUID) -> None:
    """Entries share this lock by their foreign key: none is half written now, and the next one finds the quota."""
    connection.execute(sa.select(tenants.c.id).where(tenants.c.id == tenant_id).with_for_update())


def _held(connection: Connection, tenant_id: UUID, meter: Meter) -> int:
    living = (
        sa.select(sa.func.coalesce(sa.func.sum(ledger.c[meter.value]), 0))
        .join(videos, sa.and_(videos.c.tenant_id == ledger.c.tenant_id, videos.c.id == ledger.c.video_id))
        .where(videos.c.tenant_id == tenant_id, sa.text(LIVING), ledger.c.kind == Kind.HOLD)
    )
    return int(connection.execute(living).scalar_one())


def _charged(connection: Connection, tenant_id: UUID, meter: Meter, since: datetime) -> int:
    charges = sa.select(sa.func.coalesce(sa.func.sum(ledger.c[meter.value]), 0)).where(
        ledger.c.tenant_id == tenant_id, sa.text("kind = 'charge'"), ledger.c.at >= since
    )
    return int(connection.execute(charges).scalar_one())


def _quota(row: RowMapping) -> Quota:
    return Quota(Meter(row["meter"]), Period(row["period"]), row["allowed"], row["held"], row["used"], row["since"])


# The rows are locked in one order for everybody. A row whose period is over begins the next one; a charge that was
# written in the old period, and waited for the lock into the new one, counts in neither: its period is over.
_COUNTING = """
WITH entry (at) AS ({moment}), delta (meter, held, used) AS (
  VALUES ('micros', CAST(:micros_held AS bigint), CAST(:micros_used AS bigint)),
         ('video_ms', :video_ms_held, :video_ms_used),
         ('gpu_ms', :gpu_ms_held, :gpu_ms_used)
), mine AS (
  SELECT meter,
         CASE period WHEN 'total' THEN to_timestamp(0) ELSE date_trunc(period, entry.at, 'UTC') END AS start
  FROM quotas CROSS JOIN entry WHERE tenant_id = :tenant ORDER BY meter FOR UPDATE OF quotas
)
UPDATE quotas q SET
  held = q.held + delta.held,
  used = CASE WHEN mine.start > q.since THEN 0 ELSE q.used END
       + CASE WHEN mine.start >= q.since THEN delta.used ELSE 0 END,
  since = greatest(q.since, mine.start)
FROM mine JOIN delta ON delta.meter = mine.meter
WHERE q.tenant_id = :tenant AND q.meter = mine.meter
RETURNING q.meter, q.period, q.allowed, q.held, q.used, q.since
"""
_ENTER_HOLD = """
  INSERT INTO ledger (tenant_id, video_id, kind, micros, video_ms, gpu_ms, key_id, model, labels)
  VALUES (:tenant, :video, 'hold', :micros_held, :video_ms_held, :gpu_ms_held, :key, :model, :labels)
  RETURNING at
"""
_COUNT = sa.text(_COUNTING.format(moment="SELECT CAST(:at AS timestamptz)"))
_HOLD = sa.text(_COUNTING.format(moment=_ENTER_HOLD)).bindparams(sa.bindparam("labels", type_=ledger.c.labels.type))
