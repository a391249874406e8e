"""Whatever anybody does to a video in whatever order, on a real Postgres."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from domain.lifecycle import TRANSITIONS
from tests.fixtures.videos import World
from tests.storage.machine import Lives


def live(world: World, examples: int, steps: int) -> Counter[str]:
    """Let so many worlds live so many steps each; what happened, by name."""
    done: Counter[str] = Counter()
    machine = type("LivesHere", (Lives,), {"world": world, "done": done})
    bounds = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    begun = time.monotonic()
    run_state_machine_as_test(machine, settings=bounds)
    moves = {name: count for name, count in done.items() if " to " in name}
    legal = sum(len(after) for after in TRANSITIONS.values())
    print(
        f"{examples} worlds, {done['steps']} steps in {time.monotonic() - begun:.0f} s: {sum(moves.values())} moves,"
        f" {len(moves)} of {legal} kinds; {done['refused']} writes of stale leases refused"
    )
    return done


def test_no_order_of_events_breaks_the_life_of_a_video(world: World) -> None:
    done = live(world, 12, 40)
    assert done["refused"] > 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_thousands_of_steps_make_legal_moves_only(world: World) -> None:
    done = live(world, 200, 50)
    assert done["refused"] > 200
    print(sorted(done.items()))
