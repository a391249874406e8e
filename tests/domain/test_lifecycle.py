from __future__ import annotations

import pytest

from domain.lifecycle import ACTIVE, RUNS, TERMINAL, TRANSITIONS, PublicStatus, State, allows, diagram, public_status


def test_nothing_leaves_a_terminal_state() -> None:
    assert all(not TRANSITIONS[state] for state in TERMINAL)


def test_every_living_state_can_fail_and_be_cancelled() -> None:
    assert all({State.FAILED, State.CANCELLED} <= TRANSITIONS[state] for state in ACTIVE)


def test_every_state_can_be_reached_and_every_living_state_can_end() -> None:
    reached = {State.RECEIVED}
    while grown := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= grown
    assert reached == set(State)


def test_a_running_stage_can_go_back_to_waiting() -> None:
    assert all(allows(run.waiting, run.running) and allows(run.running, run.waiting) for run in RUNS.values())


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.RECEIVED, PublicStatus.QUEUED),
        (State.HELD, PublicStatus.QUEUED),
        (State.QUEUED, PublicStatus.QUEUED),
        (State.RENDERING, PublicStatus.IN_PROGRESS),
        (State.PUBLISHING, PublicStatus.IN_PROGRESS),
        (State.COMPLETED, PublicStatus.COMPLETED),
        (State.CANCELLED, PublicStatus.FAILED),
        (State.BLOCKED, PublicStatus.FAILED),
        (State.EXPIRED, PublicStatus.FAILED),
    ],
)
def test_clients_see_four_statuses(state: State, status: PublicStatus) -> None:
    assert public_status(state) is status


def test_the_diagram_names_every_move() -> None:
    drawn = diagram()
    assert all(f"{before} --> {after}" in drawn for before in State for after in TRANSITIONS[before])
