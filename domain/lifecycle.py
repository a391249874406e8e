"""The life of a video, as data. The database trigger, the guards and the diagram in the docs come from here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a video stands."""

    RECEIVED = "received"  # stored and paid for; waits to be screened
    SCREENING = "screening"  # a worker asks the moderator about prompt and inputs
    HELD = "held"  # nobody could decide, or a person must; waits for a moderator
    QUEUED = "queued"  # allowed; waits for a renderer
    RENDERING = "rendering"  # a renderer works on it
    RENDERED = "rendered"  # drafts are stored; waits to be published
    PUBLISHING = "publishing"  # frames are screened, files signed and uploaded
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    EXPIRED = "expired"


class Stage(StrEnum):
    """A piece of work that a worker claims."""

    SCREEN = "screen"
    RENDER = "render"
    PUBLISH = "publish"


class PublicStatus(StrEnum):
    """The four statuses of the OpenAI Video object."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """How a stage moves a video: claimed in `waiting`, worked on in `running`."""

    waiting: State
    running: State


RUNS = {
    Stage.SCREEN: Run(State.RECEIVED, State.SCREENING),
    Stage.RENDER: Run(State.QUEUED, State.RENDERING),
    Stage.PUBLISH: Run(State.RENDERED, State.PUBLISHING),
}
STAGE_OF_RUNNING = {run.running: stage for stage, run in RUNS.items()}
STAGE_OF_WAITING = {run.waiting: stage for stage, run in RUNS.items()}

TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.BLOCKED, State.EXPIRED})
ACTIVE = frozenset(State) - TERMINAL
BEFORE_RENDERING = frozenset({State.RECEIVED, State.SCREENING, State.HELD, State.QUEUED})

_FORWARD = {
    State.RECEIVED: {State.SCREENING, State.EXPIRED},
    State.SCREENING: {State.QUEUED, State.HELD, State.BLOCKED, State.RECEIVED},
    State.HELD: {State.QUEUED, State.RENDERED, State.BLOCKED, State.EXPIRED},
    State.QUEUED: {State.RENDERING, State.EXPIRED},
    State.RENDERING: {State.RENDERED, State.QUEUED},
    State.RENDERED: {State.PUBLISHING},
    State.PUBLISHING: {State.COMPLETED, State.HELD, State.BLOCKED, State.RENDERED, State.QUEUED},  # drafts may be lost
}
# Anything that still lives may fail or be cancelled.
TRANSITIONS: dict[State, frozenset[State]] = {
    state: frozenset(_FORWARD.get(state, set()) | ({State.FAILED, State.CANCELLED} if state in ACTIVE else set()))
    for state in State
}


def allows(before: State, after: State) -> bool:
    """Whether the move is one of the table's."""
    return after in TRANSITIONS[before]


def public_status(state: State) -> PublicStatus:
    """What a client sees."""
    if state in BEFORE_RENDERING:
        return PublicStatus.QUEUED
    if state in ACTIVE:
        return PublicStatus.IN_PROGRESS
    return PublicStatus.COMPLETED if state is State.COMPLETED else PublicStatus.FAILED


def diagram() -> str:
    """The table as a Mermaid state diagram, embedded in docs/lifecycle.md."""
    lines = ["stateDiagram-v2", "    [*] --> received"]
    for before in State:
        lines += [f"    {before} --> {after}" for after in State if allows(before, after)]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in State if state in TERMINAL)])
