from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import zombies
from tests.chaos.run import Options, run
from tests.chaos.summary import summary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SEED = 1


@pytest.mark.timeout(600)
def test_two_minutes_of_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    options = Options(SEED, settle_seconds=180)  # 60 on a machine of one's own; it is printed
    outcome = run(tmp_path, options, lambda line: print(line, flush=True))
    print(summary(outcome, f"python3 dev.py chaos --seed {SEED}"))
    assert outcome.report.faults() == {}
    assert outcome.refusal is None
    assert outcome.report.completed >= 100
    assert outcome.settled_seconds is not None
    assert outcome.quiet_seconds is not None


def test_a_publisher_that_comes_back_from_the_dead_is_refused(tmp_path: Path) -> None:
    found = zombies.run(tmp_path, "cli.main")
    assert found.faults() == {}
    assert found.completed == 1
    assert found.zombie_finishes_rejected + found.zombies_stopped >= 1


def test_without_the_guard_the_same_shows_in_the_report(tmp_path: Path) -> None:
    found = zombies.run(tmp_path, "tests.chaos.unfenced", settle_seconds=15)
    assert found.faults().get("doubled_outputs") == 1
