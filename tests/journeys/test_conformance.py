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

pytestmark = pytest.mark.timeout(600)

# What passes the client's strict validation passes without it.
RUNS = [(version, mode) for version in ("3.54.0", "2.54.0") for mode in ("sync-strict", "async-strict")]
PLAYED = sorted(set(LINES) - BY_MODE)
NODE = ("6.49.0", "node")
PATIENCE_SECONDS = 360

Report = dict[str, Any]


@pytest.fixture(scope="module")
def reports(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Report]]:
    """What every run has to say, all played at once, each with tenants of its own."""
    folder = tmp_path_factory.mktemp("conformance")
    pictures = venues.draw_pictures(folder / "pictures")
    public_url = venues.api_environment(system)["KINEMA_S3_ENDPOINT_URL"]
    with ExitStack() as apis, ThreadPoolExecutor(len(RUNS) + 1) as pool:
        redirecting = venues.another_api(system, folder / "redirecting.log", KINEMA_S3_PUBLIC_URL=public_url)
        dead = venues.another_api(system, folder / "dead.log", KINEMA_DATABASE_URL=venues.NOWHERE)
        urls = {
            "redirecting_url": apis.enter_context(redirecting),
            "dead_url": apis.enter_context(dead),
            "public_url": public_url,
        }

        def new_stage() -> Path:
            """Facts with tenants of their own, so that no run sees another's videos."""
            path = folder / f"stage-{len(list(folder.glob('stage-*')))}.json"
            path.write_text(json.dumps(venues.facts(system, urls, pictures)))
            return path

        python = [pool.submit(play, run, new_stage()) for run in RUNS]
        node = pool.submit(play_in_node, new_stage())
        yield dict(zip([*RUNS, NODE], [each.result() for each in (*python, node)], strict=True))


def play(run: tuple[str, str], stage: Path) -> Report:
    version, mode = run
    command = [str(venues.interpreter(version)), "-m", "tests.journeys.conformance", mode]
    report: Report = json.loads(said(command, ROOT, stage))
    assert (report["openai"], report["mode"]) == run
    return report


def play_in_node(stage: Path) -> Report:
    project = venues.node_project()
    suites = sorted(path.name for path in project.glob("*.test.mjs"))
    command = ["node", "--test", "--test-timeout=120000", "--test-reporter=./reporter.mjs", *suites]
    return {"played": [json.loads(each) for each in said(command, project, stage).splitlines()]}


def said(command: list[str], place: Path, stage: Path) -> str:
    """What the program printed; that a line failed is in there, and not in its exit status."""
    environment = {**os.environ, "KINEMA_STAGE": str(stage)}
    options: dict[str, Any] = {
        "cwd": place,
        "env": environment,
        "stdin": subprocess.DEVNULL,
        "timeout": PATIENCE_SECONDS,
    }
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ran.stdout, ran.stderr
    return ran.stdout


def lines() -> list[Any]:
    """Every run with every line that it must play."""
    runs = [*RUNS, NODE]
    return [pytest.param(run, line, id=f"{' '.join(run)} line {line:02d}") for run in runs for line in PLAYED]


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
        assert {each["line"] for each in report["played"]} == set(PLAYED)
    assert {mode for _, mode in reports} == {"sync-strict", "async-strict", "node"}


def test_node_has_the_locked_client(reports: dict[tuple[str, str], Report]) -> None:
    assert NODE in reports
    installed = json.loads((ROOT / "tests/node/node_modules/openai/package.json").read_text())
    assert installed["version"] == NODE[0]
    lock = (ROOT / "tests/node/package-lock.json").read_text()
    assert "resolved" not in lock, "a lock file names packages, not where somebody once got them"
