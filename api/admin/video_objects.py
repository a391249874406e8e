"""What administrators read of a video: the row, and everything that happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from api.admin.wire import seconds
from api.paging import Named
from domain import ids
from domain.lifecycle import PublicStatus, State, public_status
from domain.video import Operation
from storage import inspection, videos
from storage.database import Connection
from storage.inspection import Inspected


class AdminVideo(Named):
    """A video in few words. `prompt` is null for roles that may not read prompts, and of deleted videos."""

    object: Literal["admin.video"] = "admin.video"
    tenant_id: str
    key_id: str | None
    state: State
    status: PublicStatus
    model: str
    resolved_model: str
    operation: Operation
    prompt: str | None
    seconds: str
    size: str
    progress: int
    queue: str
    priority: int
    worker: str | None
    price_micros: int
    gpu_ms: int
    error: str | None
    retry_of: str | None
    created_at: int
    completed_at: int | None
    expires_at: int | None
    deleted_at: int | None


class Event(BaseModel):
    """One line of the timeline."""

    seq: int
    type: str
    at: int
    data: dict[str, Any]


class Attempt(BaseModel):
    """One claim of one stage."""

    fence: int
    stage: str
    worker: str
    started_at: int
    ended_at: int | None
    outcome: str | None
    timings: dict[str, Any] | None


class Verdict(BaseModel):
    """One decision of moderation; of a person, `model` names them."""

    subject: str
    decision: str
    policy: str
    model: str
    scores: dict[str, float]
    at: int


class Ancestor(BaseModel):
    """One step back in the lineage."""

    id: str
    model: str
    operation: Operation
    source_id: str | None
    created_at: int
    deleted: bool


class LedgerEntry(BaseModel):
    """One entry of the video's account."""

    kind: str
    micros: int
    video_ms: int
    gpu_ms: int
    at: int


class Delivery(BaseModel):
    """A webhook of the video at one endpoint."""

    id: str
    endpoint_id: str
    type: str
    state: str
    attempts: int
    created_at: int
    ended_at: int | None
    last_status: int | None
    last_error: str | None


class VideoStory(AdminVideo):
    """The whole of it. `request` and `plan` are null for roles that may not read prompts."""

    request: dict[str, Any] | None
    plan: dict[str, Any] | None
    events: list[Event]
    attempts: list[Attempt]
    verdicts: list[Verdict]
    lineage: list[Ancestor]
    ledger: list[LedgerEntry]
    deliveries: list[Delivery]


def shown(found: Inspected, *, prompts: bool) -> AdminVideo:
    """The row."""
    return AdminVideo(**_facts(found, prompts=prompts))


def story(connection: Connection, found: Inspected, *, prompts: bool) -> VideoStory:
    """The row and its surroundings, read in one transaction."""
    video = found.video
    owner = (connection, video.tenant_id, video.id)
    return VideoStory(
        **_facts(found, prompts=prompts),
        request=video.request.to_json() if prompts else None,
        plan=video.plan.to_json() if prompts else None,
        events=[Event(**_dated(row, Event)) for row in videos.history(*owner)],
        attempts=[Attempt(**_dated(row, Attempt)) for row in videos.runs(*owner)],
        verdicts=[Verdict(**_dated(row, Verdict)) for row in inspection.judgements(*owner)],
        lineage=[_ancestor(each) for each in videos.ancestry(*owner)[1:]],
        ledger=[LedgerEntry(**_dated(row, LedgerEntry)) for row in inspection.entries(*owner)],
        deliveries=[_delivery(each) for each in inspection.deliveries(*owner)],
    )


def _facts(found: Inspected, *, prompts: bool) -> dict[str, Any]:
    video = found.video
    return {
        "id": ids.public(ids.Kind.VIDEO, video.id),
        "tenant_id": ids.public(ids.Kind.TENANT, video.tenant_id),
        "key_id": None if found.key_id is None else ids.public(ids.Kind.KEY, found.key_id),
        "state": video.state,
        "status": public_status(video.state),
        "model": video.model,
        "resolved_model": video.plan.model,
        "operation": video.operation,
        "prompt": video.request.prompt if prompts and found.deleted_at is None else None,
        "seconds": str(video.plan.seconds),
        "size": str(video.plan.delivered),
        "progress": video.progress,
        "queue": video.queue,
        "priority": video.priority,
        "worker": found.worker,
        "price_micros": video.price_micros,
        "gpu_ms": video.gpu_ms,
        "error": video.error_code,
        "retry_of": None if found.retry_of is None else ids.public(ids.Kind.VIDEO, found.retry_of),
        "created_at": seconds(video.created_at),
        "completed_at": seconds(video.completed_at),
        "expires_at": seconds(video.expires_at),
        "deleted_at": seconds(found.deleted_at),
    }


def _dated(row: Mapping[Any, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """The columns that the object has, moments as whole seconds."""
    return {name: seconds(row[name]) if isinstance(row[name], datetime) else row[name] for name in kind.model_fields}


def _ancestor(step: videos.Ancestor) -> Ancestor:
    return Ancestor(
        id=ids.public(ids.Kind.VIDEO, step.id),
        model=step.model,
        operation=step.operation,
        source_id=None if step.source_id is None else ids.public(ids.Kind.VIDEO, step.source_id),
        created_at=int(step.created_at.timestamp()),
        deleted=step.deleted,
    )


def _delivery(found: inspection.Delivery) -> Delivery:
    return Delivery(
        id=ids.public(ids.Kind.EVENT, found.message_id),
        endpoint_id=ids.public(ids.Kind.WEBHOOK_ENDPOINT, found.endpoint_id),
        type=found.type,
        state=found.state,
        attempts=found.attempts,
        created_at=int(found.created_at.timestamp()),
        ended_at=seconds(found.ended_at),
        last_status=found.last_status,
        last_error=found.last_error,
    )
