"""What clients read: OpenAI's objects, with our extras beside their fields."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.estimates import Estimate
from domain import ids
from domain.errors import VIDEO_ERRORS
from domain.lifecycle import PublicStatus, State, public_status
from domain.video import Size
from storage import videos
from storage.videos import Page


class VideoError(BaseModel):
    """Why there is no result."""

    code: str
    message: str


class Picture(BaseModel):
    """Size in pixels and frames a second."""

    size: str
    fps: int


class Usage(BaseModel):
    """What the video took and costs. `charged_micros` is 0 unless there is a result."""

    gpu_ms: int
    price_micros: int
    charged_micros: int


class Video(BaseModel):
    """OpenAI's Video object. The fields after `error` are Kinema's own."""

    id: str
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
    stage: State
    queue_position: int | None  # videos that go first
    eta: int | None  # seconds
    resolved_model: str
    seed: int
    fps: int
    metadata: dict[str, str]
    rendered: Picture
    delivered: Picture
    usage: Usage


class VideoList(BaseModel):
    """A page of videos; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


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
        expires_at=None if stored.expires_at is None else int(stored.expires_at.timestamp()),
        prompt=request.prompt,
        seconds=str(plan.seconds),
        size=str(plan.delivered),
        remixed_from_video_id=None,
        error=_error(stored),
        stage=stored.state,
        queue_position=known.position,
        eta=None if known.eta_ms is None else -(-known.eta_ms // 1000),
        resolved_model=plan.model,
        seed=plan.seed,
        fps=plan.fps,
        metadata=request.metadata,
        rendered=_picture(plan.rendered, plan.rendered_fps),
        delivered=_picture(plan.delivered, plan.fps),
        usage=_usage(stored),
    )


def page(found: Page) -> VideoList:
    """A slice of the owner's videos."""
    data = [video(stored) for stored in found.videos]
    return VideoList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=found.has_more,
    )


def _error(stored: videos.Video) -> VideoError | None:
    if public_status(stored.state) is not PublicStatus.FAILED:
        return None
    code = stored.error_code or "render_failed"
    return VideoError(code=code, message=stored.error_message or VIDEO_ERRORS.get(code, "The video failed."))


def _picture(size: Size, fps: int) -> Picture:
    return Picture(size=str(size), fps=fps)


def _usage(stored: videos.Video) -> Usage:
    charged = stored.price_micros if stored.state is State.COMPLETED else 0
    return Usage(gpu_ms=stored.gpu_ms, price_micros=stored.price_micros, charged_micros=charged)
