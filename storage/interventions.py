"""What operators do to videos and workers, each with its row of the audit log in the same transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.administration import Actor
from domain.errors import VIDEO_ERRORS, Conflict, NotFound
from domain.ids import Kind, new_id, public
from domain.lifecycle import ACTIVE, TERMINAL, State
from domain.video import Plan, Request
from storage import audit, held, inspection, outputs, videos, workers
from storage.forgetting import forget
from storage.inspection import Inspected
from storage.lifecycle import Move, move
from storage.tables import videos as videos_table
from storage.videos import NewVideo, Video

_CANCELLED = {"state": State.CANCELLED}


def cancel_for_any_tenant(connection: Connection, actor: Actor, video_id: UUID) -> Inspected:
    """Stop the video and keep its row. Raises NotFound, and Conflict for a finished one."""
    video = the_video_for_any_tenant(connection, video_id, lock=True).video
    if video.state in TERMINAL - {State.CANCELLED}:
        raise Conflict("The video is finished; it can no longer be cancelled.", code="video_finished")
    if video.state in ACTIVE:
        end(connection, video.tenant_id, video, announce=True)
        _note(connection, actor, "video.cancelled", video, before={"state": video.state}, after=_CANCELLED)
    return the_video_for_any_tenant(connection, video_id)


def delete_for_any_tenant(connection: Connection, actor: Actor, video_id: UUID) -> None:
    """Stop the video if it runs, and forget it. Raises NotFound, for a deleted one too."""
    found = the_video_for_any_tenant(connection, video_id, lock=True)
    video = found.video
    if found.deleted_at is not None:
        raise _not_found()
    forget(connection, video.tenant_id, video.id)
    if video.state in ACTIVE:
        end(connection, video.tenant_id, video, announce=False)
    _note(connection, actor, "video.deleted", video, before={"state": video.state})


def retry_for_any_tenant(
    connection: Connection, actor: Actor, video_id: UUID, queue_seconds: int, *, copied: UUID | None = None
) -> Inspected:
    """A new video of the same request and plan, in the name of the same key and at its owner's cost.

    `copied` is the new video's id where its inputs lie in the store already, under the same names as the old one's.
    Raises NotFound; Conflict for one that is not finished, or that has inputs which are not copied; QuotaExceeded.
    """
    found = retriable_for_any_tenant(connection, video_id)
    video = found.video
    if copied is None and inputs_of(video):
        raise Conflict("What was uploaded for the video is not copied.", code="inputs_gone")
    made = _again(found, queue_seconds, copied or new_id())
    videos.create(connection, video.tenant_id, made)
    outputs.adopt_input(connection, video.tenant_id, made.id)
    connection.execute(sa.update(videos_table).where(videos_table.c.id == made.id).values(retry_of=video.id))
    new = the_video_for_any_tenant(connection, made.id)
    _note(connection, actor, "video.retried", new.video, after={"retry_of": public(Kind.VIDEO, video.id)})
    return new


def retriable_for_any_tenant(connection: Connection, video_id: UUID) -> Inspected:
    """A finished video whose row is locked. Raises NotFound, and Conflict for one that is not finished."""
    found = the_video_for_any_tenant(connection, video_id, lock=True)
    if found.deleted_at is not None:
        raise _not_found()
    if found.video.state not in TERMINAL:
        raise Conflict("The video is not finished.", code="video_not_finished")
    return found


def inputs_of(video: Video) -> frozenset[str]:
    """Keys of what was uploaded for the video, as its request and plan name them."""
    prefix = outputs.input_key(video.tenant_id, video.id, "")
    documents = json.dumps([video.request.to_json(), video.plan.to_json()], default=str)
    return frozenset(re.findall(re.escape(prefix) + r"[\w.-]+", documents))


def decide_for_any_tenant(
    connection: Connection,
    actor: Actor,
    video_id: UUID,
    *,
    decision: Literal["allow", "block"],
    note: str | None = None,
) -> Inspected:
    """Send a held video on to where it was going, or end it. Raises NotFound, and Conflict for one that is not held."""
    after = held.decide_for_any_tenant(connection, video_id, decision, actor.name)
    found = the_video_for_any_tenant(connection, video_id)
    if after is None:
        raise Conflict("The video is not held (any more).", code="video_not_held")
    decided = {"state": after, "decision": decision, "note": note}
    _note(connection, actor, "video.decided", found.video, before={"state": State.HELD}, after=decided)
    return found


def drain_for_any_tenant(connection: Connection, actor: Actor, worker_id: str) -> None:
    """Let a worker claim nothing more; it finishes or hands back what it has. Raises NotFound."""
    if not workers.ask_to_drain_for_any_tenant(connection, worker_id):
        raise _no_worker()
    audit.record_for_any_tenant(connection, actor, "worker.drained", worker_id)


def resume_for_any_tenant(connection: Connection, actor: Actor, worker_id: str) -> None:
    """Let a drained worker claim again; one that leaves, leaves all the same. Raises NotFound."""
    if not workers.let_resume_for_any_tenant(connection, worker_id):
        raise _no_worker()
    audit.record_for_any_tenant(connection, actor, "worker.resumed", worker_id)


def the_video_for_any_tenant(connection: Connection, video_id: UUID, *, lock: bool = False) -> Inspected:
    """One video. Raises NotFound."""
    found = inspection.find_for_any_tenant(connection, video_id, lock=lock)
    if found is None:
        raise _not_found()
    return found


def end(connection: Connection, tenant_id: UUID, video: Video, *, announce: bool) -> None:
    """Cancel a living video whose row is locked, so that state and fence are what was just read."""
    change = Move(
        tenant_id,
        video.id,
        video.state,
        State.CANCELLED,
        video.fence,
        outcome="cancelled",
        error_code="cancelled",
        error_message=VIDEO_ERRORS["cancelled"],
        announce=announce,
    )
    if not move(connection, change):
        raise RuntimeError("a locked video changed its state")


def _again(found: Inspected, queue_seconds: int, own_id: UUID) -> NewVideo:
    video = found.video
    old, new = (outputs.input_key(video.tenant_id, each, "") for each in (video.id, own_id))

    def moved(document: dict[str, Any]) -> dict[str, Any]:
        return json.loads(json.dumps(document, default=str).replace(old, new))

    return NewVideo(
        id=own_id,
        key_id=found.key_id,
        request=Request.from_json(moved(video.request.to_json())),
        plan=Plan.from_json(moved(video.plan.to_json())),
        pool=video.pool,
        price_micros=video.price_micros,
        estimate_ms=video.estimate_ms,
        queue_seconds=queue_seconds,
        priority=video.priority,
    )


def _not_found() -> NotFound:
    return NotFound("There is no such video.", param="video_id", code="video_not_found")


def _no_worker() -> NotFound:
    return NotFound("There is no such worker.", param="worker_id", code="worker_not_found")


def _note(
    connection: Connection,
    actor: Actor,
    action: str,
    video: Video,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    audit.record_for_any_tenant(
        connection,
        actor,
        action,
        public(Kind.VIDEO, video.id),
        tenant=video.tenant_id,
        before=before,
        after=after,
    )
