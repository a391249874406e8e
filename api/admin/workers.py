"""/admin/v1/workers and /admin/v1/queues: who works, and what waits."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from api.admin.access import Operator, Reader
from api.admin.wire import seconds
from api.deps import Served
from domain import ids
from storage import interventions, workers

router = APIRouter()


class Worker(BaseModel):
    """A process that has reported in the last half minute."""

    id: str
    object: Literal["worker"] = "worker"
    queues: list[str]
    host: str
    pid: int
    state: str  # idle, busy, draining
    video_id: str | None
    started_at: int
    beat_at: int
    drain_requested_at: int | None


class WorkerList(BaseModel):
    """All of them, by name."""

    object: Literal["list"] = "list"
    data: list[Worker]


class Queue(BaseModel):
    """A render queue as it was counted last."""

    id: str
    object: Literal["queue"] = "queue"
    waiting: int  # up to 10,000
    waiting_by_tenant: dict[str, int]
    slots: int
    mean_ms: int  # of a rendering
    at: int


class QueueList(BaseModel):
    """All of them, by name."""

    object: Literal["list"] = "list"
    data: list[Queue]


class Drain(BaseModel):
    """The worker was asked."""

    id: str
    object: Literal["worker.draining"] = "worker.draining"


class Resume(BaseModel):
    """The worker was told."""

    id: str
    object: Literal["worker.resumed"] = "worker.resumed"


@router.get("/workers")
def list_workers(served: Served, _reader: Reader) -> WorkerList:
    """Living workers and dispatchers."""
    with served.database.transaction_for_any_tenant() as connection:
        return WorkerList(data=[_worker(dict(row)) for row in workers.list_for_any_tenant(connection)])


@router.post("/workers/{worker_id}/drain")
def drain_worker(served: Served, operator: Operator, worker_id: str) -> Drain:
    """Let the worker claim nothing more: it finishes or hands back what it has, and waits to be resumed."""
    with served.database.transaction_for_any_tenant() as connection:
        interventions.drain_for_any_tenant(connection, operator.actor, worker_id.replace("\0", ""))
    return Drain(id=worker_id)


@router.post("/workers/{worker_id}/resume")
def resume_worker(served: Served, operator: Operator, worker_id: str) -> Resume:
    """Let a drained worker claim again, from its next report on. One that is leaving, leaves all the same."""
    with served.database.transaction_for_any_tenant() as connection:
        interventions.resume_for_any_tenant(connection, operator.actor, worker_id.replace("\0", ""))
    return Resume(id=worker_id)


@router.get("/queues")
def list_queues(served: Served, _reader: Reader) -> QueueList:
    """What waits for renderers, as the dispatcher counts it every two seconds."""
    with served.database.transaction_for_any_tenant() as connection:
        return QueueList(data=[_queue(dict(row)) for row in workers.snapshots_for_any_tenant(connection)])


def _worker(row: dict[str, Any]) -> Worker:
    video_id: UUID | None = row["video_id"]
    return Worker(
        id=row["id"],
        queues=row["queues"],
        host=row["host"],
        pid=row["pid"],
        state=row["state"],
        video_id=None if video_id is None else ids.public(ids.Kind.VIDEO, video_id),
        started_at=int(row["started_at"].timestamp()),
        beat_at=int(row["beat_at"].timestamp()),
        drain_requested_at=seconds(row["drain_requested_at"]),
    )


def _queue(row: dict[str, Any]) -> Queue:
    backlog: dict[str, int] = row["backlog"]
    return Queue(
        id=row["queue"],
        waiting=sum(backlog.values()),
        waiting_by_tenant={ids.public(ids.Kind.TENANT, UUID(hex=name)): count for name, count in backlog.items()},
        slots=row["slots"],
        mean_ms=row["mean_ms"],
        at=int(row["at"].timestamp()),
    )
