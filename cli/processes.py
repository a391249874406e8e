"""Kinema's own processes on one machine: the table that `kinema up` runs."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli.serve import needs
from infra.embedded.process import Program
from runtime import settings

ROOT = Path(__file__).resolve().parents[1]
GRACE_SECONDS = 12.0  # with the next line and the servers' 5 s this stays below the 20 s in which everything must stop
ASKED_GRACE_SECONDS = 1.0  # of the moderator, after the workers that ask it
SPIN = "100000"  # OpenMP threads that wait longer burn cores that other processes need


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of process: its name in up.json, its arguments, how many, and what it is trusted with."""

    name: str
    arguments: tuple[str, ...]
    copies: int = 1
    torch: bool = False
    signs: bool = False
    health: tuple[str, str] | None = None  # name of its port, path that answers 200 when it is ready


def table(render_queue: str, render_workers: int) -> tuple[Row, ...]:
    """What runs, in the order in which it starts."""
    worker = ("serve", "worker", "--queue")
    return (
        Row("moderator", ("serve", "moderator"), torch=True, health=("moderator", "/healthz")),
        Row("dispatcher", ("serve", "dispatcher")),
        Row("io_worker", (*worker, "screen,publish"), signs=True),
        Row("deliver_worker", (*worker, "deliver")),
        Row("render_worker", (*worker, render_queue), copies=render_workers, torch=True),
        Row("api", ("serve", "api"), health=("api", "/readyz")),
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every process is given: the data directory, settings, where the signing key is, ports by name."""

    data: Path
    environment: Mapping[str, str]
    signing: Mapping[str, str]
    ports: Mapping[str, int]


def programs(rows: tuple[Row, ...], around: Surroundings) -> list[Program]:
    """The rows as the supervisor runs them."""
    threads = _torch(sum(row.copies for row in rows if row.name == "render_worker"))
    return [_program(row, number, threads, around) for row in rows for number in range(1, row.copies + 1)]


def _program(row: Row, number: int, threads: Mapping[str, str], around: Surroundings) -> Program:
    name = row.name if row.copies == 1 else f"{row.name}-{number}"
    return Program(
        name=name,
        group=row.name,
        argv=(sys.executable, "-m", "cli.main", *row.arguments),
        env={**_needed(row, around.environment), **_trusted(row, around.signing), **(threads if row.torch else {})},
        log=around.data / "logs" / f"{name}.log",
        cwd=ROOT,
        ready=None if row.health is None else partial(answers, around.ports[row.health[0]], row.health[1]),
        ready_within=60.0,
        grace=ASKED_GRACE_SECONDS if row.name == "moderator" else GRACE_SECONDS,
        last_to_stop=row.name == "moderator",
    )


def _needed(row: Row, environment: Mapping[str, str]) -> dict[str, str]:
    """Without the secrets that the row's process does not use."""
    _, role, *rest = row.arguments
    withheld = settings.withheld(needs(role, rest[-1] if rest else None))
    return {name: value for name, value in environment.items() if name not in withheld}


def _trusted(row: Row, signing: Mapping[str, str]) -> dict[str, str]:
    """Only a row that signs gets to know where the signing key is; the root is no secret."""
    return {name: value for name, value in signing.items() if row.signs or name.endswith("ROOT_FILE")}


def _torch(renderers: int) -> dict[str, str]:
    """Renderers share the cores instead of each taking all of them."""
    threads = max(1, (os.cpu_count() or 1) // max(1, renderers))
    return {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": SPIN}


def answers(port: int, path: str) -> None:
    """Makes sure that GET `path` is 200. Raises OSError or http.client.HTTPException otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise ConnectionError(f"{path} answered {response.status}: {response.read(500).decode(errors='replace')}")
    finally:
        connection.close()
