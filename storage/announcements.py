"""What happened, told: one message, and a delivery of it for every endpoint that wants it.

A message is stored in the transaction of what it tells, so neither exists without the other. Whoever commits rings
`deliver` afterwards; without a ring the dispatcher sees it within a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from domain.ids import Kind, new_id, public
from domain.lifecycle import State
from domain.targets import Target, parse_target
from domain.webhooks import ENDS, LOG_DAYS, PROGRESS_SECONDS, EventType, events_on, payload
from storage.tables import NOW, webhook_deliveries, webhook_endpoints, webhook_messages

ORIGINS = 1_000  # of one tenant's requests that have a lane of their own
# Written into the text, never bound: only then does the partial index apply.
REGISTERED = webhook_endpoints.c.kind == sa.literal_column("'registered'")
OTHERS = "https://*"  # the one lane of all further origins
_OF_REQUESTS = sa.text("kind <> 'registered'")


@dataclass(frozen=True, slots=True)
class _Receiver:
    endpoint_id: UUID
    state: str = "pending"
    url: str | None = None  # None: the endpoint's own


def announce(
    connection: Connection, tenant_id: UUID, event_type: EventType, object_id: str, *, skip: UUID | None = None
) -> bool:
    """Tell whoever wants it that something happened to `object_id` (a public id). False: nobody does.

    For everything that is no video: batches, endpoints. `skip` is an endpoint that is not told.
    """
    receivers = [each for each in _wanting(connection, tenant_id, event_type) if each.endpoint_id != skip]
    if receivers:
        _store(connection, tenant_id, event_type, {"id": object_id}, receivers)
    return bool(receivers)


def announce_state(
    connection: Connection, tenant_id: UUID, video_id: UUID, state: State, webhook_url: str | None = None
) -> None:
    """Tell that a video reached the state. The caller's transaction holds the video's lock.

    An end always has its message, wanted or not, and it goes to `webhook_url` too, if the request named one.
    """
    for event_type in events_on(state):
        own = _of_request(connection, tenant_id, webhook_url) if webhook_url and event_type in ENDS else ()
        _announce_video(connection, tenant_id, video_id, event_type, own)


def announce_start(connection: Connection, tenant_id: UUID, video_id: UUID) -> None:
    """Tell that a renderer took the video, under whose lock the caller is."""
    _announce_video(connection, tenant_id, video_id, EventType.VIDEO_STARTED)


def announce_progress(connection: Connection, tenant_id: UUID, video_id: UUID, percent: int) -> None:
    """Tell how far the video is, unless that was told within the last PROGRESS_SECONDS. The caller holds its lock."""
    receivers = _wanting(connection, tenant_id, EventType.VIDEO_PROGRESS)
    if not receivers:
        return
    lately = sa.select(sa.literal(1)).where(
        webhook_messages.c.tenant_id == tenant_id,
        webhook_messages.c.video_id == video_id,
        webhook_messages.c.type == EventType.VIDEO_PROGRESS,
        webhook_messages.c.created_at > NOW - timedelta(seconds=PROGRESS_SECONDS),
    )
    if connection.scalar(lately.limit(1)) is None:
        data = {**_data_of_video(connection, tenant_id, video_id), "progress": percent}
        _store(connection, tenant_id, EventType.VIDEO_PROGRESS, data, receivers, video_id=video_id)


def forget(connection: Connection, tenant_id: UUID, video_id: UUID) -> None:
    """Erase the URL that the video's request named, and drop what still waits for it."""
    of_video = sa.select(webhook_messages.c.id).where(
        webhook_messages.c.tenant_id == tenant_id, webhook_messages.c.video_id == video_id
    )
    waits = webhook_deliveries.c.state == "pending"
    connection.execute(
        sa.update(webhook_deliveries)
        .where(
            webhook_deliveries.c.tenant_id == tenant_id,
            webhook_deliveries.c.message_id.in_(of_video),
            webhook_deliveries.c.url.is_not(None),
        )
        .values(
            url=None,
            state=sa.case((waits, "cancelled"), else_=webhook_deliveries.c.state),
            ended_at=sa.case((waits, NOW), else_=webhook_deliveries.c.ended_at),
            lease_until=None,
        )
    )


def _announce_video(
    connection: Connection,
    tenant_id: UUID,
    video_id: UUID,
    event_type: EventType,
    own: Sequence[_Receiver] = (),
) -> None:
    receivers = [*_wanting(connection, tenant_id, event_type), *own]
    if receivers or event_type in ENDS:
        _store(
            connection,
            tenant_id,
            event_type,
            _data_of_video(connection, tenant_id, video_id),
            receivers,
            video_id=video_id,
        )


def subscribed(tenant_id: UUID, event_type: EventType) -> sa.Select[Any, Any]:
    """The query for the tenant's endpoints that want an event."""
    return sa.select(webhook_endpoints.c.id, webhook_endpoints.c.disabled_at).where(
        webhook_endpoints.c.tenant_id == tenant_id,
        webhook_endpoints.c.deleted_at.is_(None),
        REGISTERED,
        sa.literal(event_type.value) == sa.any_(webhook_endpoints.c.event_types),
    )


def _wanting(connection: Connection, tenant_id: UUID, event_type: EventType) -> list[_Receiver]:
    """The endpoints that subscribed. One that is disabled gets a delivery that only a replay can bring to life."""
    rows = connection.execute(subscribed(tenant_id, event_type))
    return [_Receiver(row.id, "pending" if row.disabled_at is None else "cancelled") for row in rows]


def _of_request(connection: Connection, tenant_id: UUID, url: str) -> Sequence[_Receiver]:
    """The receiver that a request named. Its origin has a row like any endpoint, so that breaker and bounds apply."""
    target = parse_target(url, allow_loopback=True)  # the sender judges; this takes the origin only
    if not isinstance(target, Target):
        return ()
    origin = f"{target.scheme}://{target.host}:{target.port}"
    lane = _lane(connection, tenant_id, origin)
    if lane is None and _knows_enough(connection, tenant_id):
        origin = OTHERS
        lane = _lane(connection, tenant_id, origin)
    while lane is None:  # one that was there may be removed between two statements, one just made is not
        _add_lane(connection, tenant_id, origin)
        lane = _lane(connection, tenant_id, origin)
    return [_Receiver(lane, url=url)]


def _lane(connection: Connection, tenant_id: UUID, origin: str) -> UUID | None:
    """The origin's row, which nobody removes until commit; whoever is removing it is waited for."""
    mine = webhook_endpoints.c.tenant_id == tenant_id, webhook_endpoints.c.url == origin, _OF_REQUESTS
    query = sa.select(webhook_endpoints.c.id).where(*mine).with_for_update(read=True, key_share=True)
    return connection.execute(query).scalar_one_or_none()


def _add_lane(connection: Connection, tenant_id: UUID, origin: str) -> None:
    made: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": tenant_id,
        "kind": "request",
        "name": origin,
        "url": origin,
        "event_types": [],
        "forget_at": NOW + timedelta(days=LOG_DAYS),
    }
    connection.execute(
        insert(webhook_endpoints)
        .values(made)
        .on_conflict_do_nothing(index_elements=["tenant_id", "url"], index_where=_OF_REQUESTS)
    )


def _knows_enough(connection: Connection, tenant_id: UUID) -> bool:
    """Whether this would be one origin too many. Two at once may both be the last, which harms nobody."""
    mine = webhook_endpoints.c.tenant_id == tenant_id, webhook_endpoints.c.kind == "request"
    some = sa.select(webhook_endpoints.c.id).where(*mine).limit(ORIGINS).subquery()
    return (connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0) >= ORIGINS


def _data_of_video(connection: Connection, tenant_id: UUID, video_id: UUID) -> dict[str, Any]:
    """Its id, and a number that is higher than those of all its messages before."""
    highest = connection.scalar(
        sa.select(sa.func.max(webhook_messages.c.sequence)).where(
            webhook_messages.c.tenant_id == tenant_id, webhook_messages.c.video_id == video_id
        )
    )
    return {"id": public(Kind.VIDEO, video_id), "sequence": (highest or 0) + 1}


def _store(
    connection: Connection,
    tenant_id: UUID,
    event_type: EventType,
    data: dict[str, Any],
    receivers: Sequence[_Receiver],
    *,
    video_id: UUID | None = None,
) -> None:
    message_id = new_id()
    connection.execute(
        sa.insert(webhook_messages).values(
            id=message_id,
            tenant_id=tenant_id,
            video_id=video_id,
            sequence=data.get("sequence"),
            type=event_type,
            body=payload(message_id, event_type, int(time.time()), data),
        )
    )
    rows = [
        {
            "tenant_id": tenant_id,
            "message_id": message_id,
            "endpoint_id": receiver.endpoint_id,
            "state": receiver.state,
            "url": receiver.url,
            "ready": True,
            "ended_at": None if receiver.state == "pending" else sa.func.now(),
        }
        for receiver in receivers
    ]
    if rows:
        connection.execute(sa.insert(webhook_deliveries).values(rows))
