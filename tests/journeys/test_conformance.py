"""The checklist of the contract: every line, by both majors of the Python client and by Node's, on one running system.

The suites are programs of their own, since each needs another client; what is collected here are their reports.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.journeys import venues
from tests.journeys.conformance.checklist import BY_MODE, LINES
from tests.journeys.system import ROOT, System

pytestmark = pytest.mark.timeout(420)

STRICT = [(version, mode) for version in ("3.54.0", "2.54.0") for mode in ("sync-strict", "async-strict")]
RUNS = [*STRICT, ("3.54.0", "sync")]
PLAYED = sorted(set(LINES) - BY_MODE)
# Lines of calls that are still being built; a line that passes must leave this set.
PENDING: frozenset[int] = frozenset({12, 13, 14, 16, 19})

Report = dict[str, Any]


@pytest.fixture(scope="module")
def reports(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Report]]:
    """What every run has to say, all played at once, each with tenants of its own."""
    folder = tmp_path_factory.mktemp("conformance")
    pictures = venues.draw_pictures(folder / "pictures")
    public_url = venues.api_environment(system)["KINEMA_S3_ENDPOINT_URL"]
    with ExitStack() as apis, ThreadPoolExecutor(len(RUNS)) as pool:
        redirecting = venues.another_api(system, folder / "redirecting.log", KINEMA_S3_PUBLIC_URL=public_url)
        dead = venues.another_api(system, folder / "dead.log", KINEMA_DATABASE_URL=venues.NOWHERE)
        urls = {
            "redirecting_url": apis.enter_context(redirecting),
            "dead_url": apis.enter_context(dead),
            "public_url": public_url,
        }
        stages = [
            write(folder / f"stage-{number}.json", venues.facts(system, urls, pictures)) for number in range(len(RUNS))
        ]
        yield dict(zip(RUNS, pool.map(play, RUNS, stages), strict=True))


def write(path: Path, facts: dict[str, Any]) -> Path:
    path.write_text(json.dumps(facts))
    return path


def play(run: tuple[str, str], stage: Path) -> Report:
    version, mode = run
    command = [str(venues.interpreter(version)), "-m", "tests.journeys.conformance", mode]
    environment = {**os.environ, "KINEMA_STAGE": str(stage)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    report: Report = json.loads(ran.stdout)
    assert (report["openai"], report["mode"]) == run
    return report


def lines() -> list[Any]:
    """Every run with every line that it must play."""
    return [
        pytest.param(run, line, id=f"{' '.join(run)} line {line:02d}", marks=expected(line))
        for run in RUNS
        for line in PLAYED
    ]


def expected(line: int) -> list[Any]:
    return [pytest.mark.xfail(strict=True, reason="the calls of this line are being built")] if line in PENDING else []


@pytest.mark.parametrize(("run", "line"), lines())
def test_the_line_holds(reports: dict[tuple[str, str], Report], run: tuple[str, str], line: int) -> None:
    played = [each for each in reports[run]["played"] if each["line"] == line]
    assert played, f"nothing shows line {line}: {LINES[line]}"
    for each in played:
        assert each["failure"] is None, f"{each['name']}\n{each['failure']}"


def test_the_checklist_is_whole(reports: dict[tuple[str, str], Report]) -> None:
    """22 lines; strict mode (20), the asynchronous client (21) and Node (22) are ways to play the others."""
    assert sorted(LINES) == list(range(1, 23))
    for report in reports.values():
        assert {each["line"] for each in report["played"]} | PENDING == set(PLAYED)
    assert {mode for _, mode in reports} == {"sync", "sync-strict", "async-strict"}
