"""What lies below a request: statements and fsyncs of a create, claims, and the bytes of a result."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from uuid import UUID

from cli.bench.load import Call, Client
from cli.bench.venue import Venue
from cli.bench.wire import CountingWire
from domain import ids
from domain.lifecycle import Stage, State
from storage import outputs, schedule
from storage.lifecycle import Move, move
from storage.outputs import CONTENT_TYPES, Kind, Output
from storage.schedule import Lease

CREATES = 200
CLAIMS = 400
FILE_BYTES = 64 * 1024 * 1024
DOWNLOADS = 4
LEASE_SECONDS = 600.0
_FSYNCS = "SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"


@dataclass(frozen=True, slots=True)
class Floor:
    """What one create asks of Postgres, in the mean."""

    round_trips: float
    fsyncs: float


def floor(at: Venue, key: str, create: Call) -> Floor:
    """Counted from outside, over one warm connection, one create after the other."""
    wire = CountingWire(*at.postgres())
    url = re.sub(r"@[^/]+/", f"@127.0.0.1:{wire.port}/", at.endpoints.database_url)
    with at.api(KINEMA_DATABASE_URL=url) as port:
        client = Client(port, [key])
        client.each(create, 10)
        trips, fsyncs = wire.round_trips, _fsyncs(at)
        client.each(create, CREATES)
        counted = wire.round_trips - trips
        floor = Floor(counted / CREATES, (_fsyncs(at) - fsyncs) / CREATES)
    wire.close()
    return floor


def _fsyncs(at: Venue) -> int:
    time.sleep(2.0)  # Postgres publishes its own counts once a second
    with at.owner.engine.connect() as connection:
        return int(connection.exec_driver_sql(_FSYNCS).scalar_one())


def claims(at: Venue) -> tuple[float, float]:
    """Claims a second of one worker, and transactions a second that do nothing."""
    begun = time.monotonic()
    for _ in range(CLAIMS):
        must_claim(at, Stage.SCREEN, "screen")
    claimed = CLAIMS / (time.monotonic() - begun)
    begun = time.monotonic()
    for _ in range(CLAIMS):
        with at.database.transaction_for_any_tenant() as connection:
            connection.exec_driver_sql("SELECT 1")
    return claimed, CLAIMS / (time.monotonic() - begun)


def content(at: Venue, client: Client, create: Call) -> tuple[float, float]:
    """Megabytes a second of a result through the API, and straight from the object store."""
    video_id, key = _finish(at, client, create)
    store, path = at.objects(), f"/v1/videos/{ids.public(ids.Kind.VIDEO, video_id)}/content"
    through, straight = 0.0, 0.0
    for _ in range(DOWNLOADS):
        begun = time.monotonic()
        if len(client.once(Call("GET", path))) != FILE_BYTES:
            raise RuntimeError("the API cut the file short")
        through += time.monotonic() - begun
        begun = time.monotonic()
        if sum(len(chunk) for chunk in store.get(key).body) != FILE_BYTES:
            raise RuntimeError("the store cut the file short")
        straight += time.monotonic() - begun
    megabytes = DOWNLOADS * FILE_BYTES / 1e6
    return megabytes / through, megabytes / straight


def _finish(at: Venue, client: Client, create: Call) -> tuple[UUID, str]:
    """One more video, brought to its end with a large file."""
    wanted = ids.parse(ids.Kind.VIDEO, json.loads(client.once(create))["id"])
    lease = must_claim(at, Stage.SCREEN, "screen")
    while lease.video_id != wanted:
        lease = must_claim(at, Stage.SCREEN, "screen")
    must_move(at, lease, State.SCREENING, State.QUEUED)
    lease = must_claim(at, Stage.RENDER, "render.small")
    must_move(at, lease, State.RENDERING, State.RENDERED)
    lease = must_claim(at, Stage.PUBLISH, "publish")
    data, key = os.urandom(FILE_BYTES), outputs.key(lease, Kind.VIDEO)
    with at.database.transaction(lease.tenant_id) as connection:
        outputs.register(connection, lease, "output", [key])
    at.objects().put(key, data, CONTENT_TYPES[Kind.VIDEO])
    with at.database.transaction(lease.tenant_id) as connection:
        file = Output(Kind.VIDEO, key, CONTENT_TYPES[Kind.VIDEO], hashlib.sha256(data).digest(), len(data))
        outputs.publish(connection, lease.tenant_id, lease.video_id, [file])
        move(connection, Move(lease.tenant_id, lease.video_id, State.PUBLISHING, State.COMPLETED, lease.fence))
    return lease.video_id, key


def must_claim(at: Venue, stage: Stage, queue: str) -> Lease:
    """Raises RuntimeError if nothing is claimable."""
    with at.database.transaction_for_any_tenant() as connection:
        lease = schedule.claim_for_any_tenant(connection, stage, queue, "bench", LEASE_SECONDS)
    if lease is None:
        raise RuntimeError(f"nothing to claim in {queue}")
    return lease


def must_move(at: Venue, lease: Lease, before: State, after: State) -> None:
    """What a worker does at the end of a stage. Raises RuntimeError if the lease was lost."""
    with at.database.transaction(lease.tenant_id) as connection:
        if not move(connection, Move(lease.tenant_id, lease.video_id, before, after, lease.fence)):
            raise RuntimeError("the lease was lost")
