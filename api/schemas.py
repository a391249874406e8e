"""What clients read: OpenAI's objects, with our extras beside their fields."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from api import paging
from api.effective import Effective, effective, length
from api.estimates import Estimate
from domain import ids
from domain.errors import VIDEO_ERRORS
from domain.lifecycle import ACTIVE, PublicStatus, State, public_status
from storage import videos
from storage.videos import NewVideo, Page


class VideoError(BaseModel):
    """Why there is no result."""

    code: str
    message: str


class Usage(BaseModel):
    """What the video took and costs. It is held while the video lives, and charged if there is a result."""

    gpu_ms: int
    seconds: int  # of video that are charged
    price_micros: int
    held_micros: int
    charged_micros: int


class _Contract(paging.Named):
    """OpenAI's own fields."""

    object: Literal["video"] = "video"
    model: str  # as asked
    status: PublicStatus
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str | None
    seconds: str
    size: str
    remixed_from_video_id: str | None
    error: VideoError | None


class Video(Effective, _Contract):
    """OpenAI's Video object. The fields after `error` are Kinema's own."""

    stage: State
    queue_position: int | None  # videos that go first
    eta: int | None  # seconds
    metadata: dict[str, str]
    safety_identifier: str | None
    usage: Usage


class DryRun(BaseModel):
    """What a create with `dry_run` would make, and what it would cost. Nothing was stored."""

    object: Literal["video.dry_run"] = "video.dry_run"
    model: str  # as asked
    prompt: str
    seconds: str
    size: str
    remixed_from_video_id: str | None
    price_micros: int
    estimate_ms: int  # of a renderer
    plan: Effective


class VideoList(paging.Page[Video]):
    """A page of videos; `last_id` is the next page's `after`."""


class DeletedVideo(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


def video(stored: videos.Video, estimate: Estimate | None = None) -> Video:
    """The stored video as its owner sees it. A list leaves the estimates out."""
    known = estimate or Estimate()
    request, plan = stored.request, stored.plan
    return Video(
        id=ids.public(ids.Kind.VIDEO, stored.id),
        model=stored.model,
        status=public_status(stored.state),
        progress=stored.progress,
        created_at=int(stored.created_at.timestamp()),
        completed_at=None if stored.completed_at is None else int(stored.completed_at.timestamp()),
        expires_at=_expiry(stored),
        prompt=request.prompt,
        seconds=length(plan),
        size=str(plan.delivered),
        remixed_from_video_id=_source(stored.source_id),
        error=_error(stored),
        stage=stored.state,
        queue_position=known.position,
        eta=None if known.eta_ms is None else -(-known.eta_ms // 1000),
        metadata=request.metadata,
        safety_identifier=request.safety_identifier,
        usage=_usage(stored),
        **effective(request, plan),
    )


def dry_run(new: NewVideo) -> DryRun:
    """A video that was planned and not stored."""
    request, plan = new.request, new.plan
    return DryRun(
        model=request.model,
        prompt=request.prompt,
        seconds=length(plan),
        size=str(plan.delivered),
        remixed_from_video_id=_source(request.source),
        price_micros=new.price_micros,
        estimate_ms=new.estimate_ms,
        plan=Effective(**effective(request, plan)),
    )


def page(found: Page) -> VideoList:
    """A slice of the owner's videos."""
    return VideoList.of([video(stored) for stored in found.videos], more=found.has_more)


def _expiry(stored: videos.Video) -> int | None:
    """Of the result, as OpenAI means it; a video without one expires all the same."""
    if stored.expires_at is None or stored.state is not State.COMPLETED:
        return None
    return int(stored.expires_at.timestamp())


def _error(stored: videos.Video) -> VideoError | None:
    lost = stored.state is State.COMPLETED and stored.error_code is not None  # its files, as `kinema objects` found
    if public_status(stored.state) is not PublicStatus.FAILED and not lost:
        return None
    code = stored.error_code or "render_failed"
    return VideoError(code=code, message=stored.error_message or VIDEO_ERRORS.get(code, "The video failed."))


def _source(source_id: UUID | None) -> str | None:
    return None if source_id is None else ids.public(ids.Kind.VIDEO, source_id)


def _usage(stored: videos.Video) -> Usage:
    completed = stored.state is State.COMPLETED
    return Usage(
        gpu_ms=stored.gpu_ms,
        seconds=stored.plan.seconds if completed else 0,
        price_micros=stored.price_micros,
        held_micros=stored.price_micros if stored.state in ACTIVE else 0,
        charged_micros=stored.price_micros if completed else 0,
    )
