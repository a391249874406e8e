"""Whether the service works, and how long a video would wait: what anybody may know. Nothing of any tenant."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.moderator import Moderator
from api.probes import Probes
from domain import eta
from domain.catalogue import Catalogue, Model
from storage import workers
from storage.database import Database
from storage.outages import OUTAGES
from storage.workers import Snapshot

FRESH_SECONDS = 2.0
Health = Literal["up", "degraded"]
# What a client would notice if nobody served the queue.
_STAGES = {"screening": "screen", "publishing": "publish", "webhooks": "deliver"}


class ModelStatus(BaseModel):
    """One model. `wait_seconds` until a renderer would take a new video; null: nobody renders, or nobody knows."""

    id: str
    status: Health
    wait_seconds: int | None


class Status(BaseModel):
    """The service as a whole is up when every part of it is."""

    status: Health
    checked_at: Annotated[int, Field(description="Unix time")]
    components: dict[str, Health]
    models: list[ModelStatus]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the database says. Nothing, while it does not answer."""

    queues: frozenset[str] = frozenset()
    snapshots: Mapping[str, Snapshot | None] = field(default_factory=dict[str, "Snapshot | None"])


class Board:
    """The state of the service, looked up at most every two seconds however often it is asked for.

    Belongs to the event loop.
    """

    def __init__(self, database: Database, catalogue: Catalogue, probes: Probes, moderator: Moderator) -> None:
        self._database = database
        self._catalogue = catalogue
        self._probes = probes
        self._moderator = moderator
        self._shown: Status | None = None
        self._until = 0.0

    async def read(self) -> Status:
        """The last answer while it is fresh, or while somebody else is getting a new one."""
        if self._shown is None or time.monotonic() >= self._until:
            self._until = time.monotonic() + FRESH_SECONDS
            answers = await self._probes.ask()
            self._shown = await run_in_threadpool(self._look, answers)
        return self._shown

    def _look(self, answers: Mapping[str, bool]) -> Status:
        seen = self._read() if answers["database"] else _Seen()
        parts = {
            "api": True,
            "database": answers["database"],
            "storage": answers["s3"],
            "hints": answers["redis"],
            "moderation": self._moderator.answers(),
            **{name: queue in seen.queues for name, queue in _STAGES.items()},
        }
        models = [_model(model, seen.snapshots.get(model.queue)) for model in self._catalogue.models]
        return Status(
            status=_health(all(parts.values()) and all(model.status == "up" for model in models)),
            checked_at=int(time.time()),
            components={name: _health(well) for name, well in parts.items()},
            models=models,
        )

    def _read(self) -> _Seen:
        pools = {model.queue for model in self._catalogue.models}
        try:
            with self._database.transaction_for_any_tenant() as connection:
                queues = frozenset(workers.queues_for_any_tenant(connection))
                return _Seen(queues, {pool: workers.read_snapshot_for_any_tenant(connection, pool) for pool in pools})
        except OUTAGES:
            return _Seen()


def _model(model: Model, snapshot: Snapshot | None) -> ModelStatus:
    wait_ms = None if snapshot is None else _wait(model, snapshot)
    wait = None if wait_ms is None else -(-wait_ms // 1000)
    return ModelStatus(id=model.name, status=_health(wait is not None), wait_seconds=wait)


def _wait(model: Model, snapshot: Snapshot) -> int | None:
    typical = snapshot.mean_ms or model.cost_ms * model.seconds[0]
    return eta.until_taken(sum(snapshot.backlog.values()), snapshot.slots, typical)


def _health(well: bool) -> Health:  # noqa: FBT001 - the one thing that it translates
    return "up" if well else "degraded"
