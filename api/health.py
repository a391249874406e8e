"""/healthz, /readyz, /metrics: for whoever runs this process. /status: for everybody."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from api.board import Status
from api.deps import Served

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests can be served. Without Redis or S3 most still can, so they are only reported."""

    status: Literal["ready", "unready"]
    database: bool
    redis: bool
    s3: bool


@router.get("/healthz")
async def healthz() -> Health:
    """Answers from the event loop, without a thread or a server."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(served: Served, response: Response) -> Readiness:
    """503 while the database does not answer. Needs none of the threads that requests share."""
    answers = await served.probes.ask()
    if not answers["database"]:
        response.status_code = 503
    return Readiness(status="ready" if answers["database"] else "unready", **answers)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(served: Served) -> Response:
    """What Prometheus reads."""
    return Response(served.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get("/status")
async def status(served: Served) -> Status:
    """Which parts work and how long each model's queue is, checked at most every two seconds. Always 200."""
    return await served.board.read()
