"""How a stage can end. Outcomes are values; `worker.pipeline.work` turns each into the next state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from domain.lifecycle import State
from storage.database import Connection


def _nothing(_: Connection) -> None:
    """No rows besides the move."""


@dataclass(frozen=True, slots=True)
class Done:
    """The stage is through; `record` writes what belongs to the same transaction."""

    after: State
    record: Callable[[Connection], None] = _nothing
    timings: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Refused:
    """Moderation says no, or asks a person."""

    after: State  # blocked or held
    record: Callable[[Connection], None] = _nothing


@dataclass(frozen=True, slots=True)
class Failed:
    """No further attempt can help."""

    code: str


@dataclass(frozen=True, slots=True)
class Retry:
    """It may work later; `code` is what the video fails with when it never does. Users see `reason`: never raw text."""

    reason: str
    code: str
    at_last: State = State.FAILED  # where the video goes when the attempts are used up


@dataclass(frozen=True, slots=True)
class Undone:
    """What the renderer left is gone: the video must be rendered again."""


@dataclass(frozen=True, slots=True)
class Released:
    """The worker is leaving, or a server is away: the video is as it was, and nothing counts against it."""

    delay_seconds: float = 0.0  # before the next claim


@dataclass(frozen=True, slots=True)
class Lost:
    """The video is no longer ours: cancelled, deleted or reaped. Discard everything."""


Outcome = Done | Refused | Failed | Retry | Undone | Released | Lost
