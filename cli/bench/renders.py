"""What a renderer does besides drawing: a real worker, a queue that is never empty, the times that it notes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cli.bench.depths import must_claim, must_move
from cli.bench.load import NUMBER, Client, form
from cli.bench.venue import ROOT, Venue
from domain import catalogue
from domain.lifecycle import Stage, State
from storage.hints import Bell, broker

SECONDS_A_CLIP = 300.0  # then something is wrong
_NOTED = "SELECT started_at, timings FROM attempts WHERE stage = 'render' AND outcome = 'done' ORDER BY started_at"


@dataclass(frozen=True, slots=True)
class Renders:
    """Medians over the clips after the first one, which loads the model; in seconds."""

    draw: float  # from the engine's first step to its last frame
    encode: float  # after that, until the files are written
    upload: float
    idle: float  # from one clip's last frame to the next one's drawing


def measure(at: Venue, model: str, clips: int) -> Renders:
    """All of them are queued before the worker begins. Raises RuntimeError if it does not get on."""
    queue = catalogue.load(ROOT / "models.toml", testcard=True).find(model).queue
    _queue(at, model, clips)
    with _worker(at, queue):
        _wait(at, queue, clips)
    with at.database.transaction_for_any_tenant() as connection:
        rows = connection.exec_driver_sql(_NOTED).all()
    begins = [row.started_at.timestamp() for row in rows]
    told: list[dict[str, Any]] = [row.timings for row in rows]
    busy = [(each["load_ms"] + each["draw_ms"]) / 1000 for each in told]
    idle = [after - before - drew for (before, after), drew in zip(pairwise(begins), busy, strict=False)]

    def median(name: str) -> float:
        return statistics.median(each[name] / 1000 for each in told[1:])

    return Renders(median("draw_ms"), median("encode_ms"), median("upload_ms"), statistics.median(idle))


def _queue(at: Venue, model: str, clips: int) -> None:
    """Created through the API, and let through without a moderator."""
    prompt = f"a serene mountain lake at sunrise, take {NUMBER.decode()}"
    create = form([("prompt", prompt), ("model", model), ("size", "1280x720"), ("seconds", "4")])
    with at.api() as port:
        client = Client(port, at.tenants(1, limited=False))
        for _ in range(clips):
            json.loads(client.once(create))
            must_move(at, must_claim(at, Stage.SCREEN, "screen"), State.SCREENING, State.QUEUED)


@contextmanager
def _worker(at: Venue, queue: str) -> Generator[None]:
    command = [sys.executable, "-m", "cli.main", "serve", "worker", "--queue", queue]
    environment = {**os.environ, **at.environment, "KINEMA_LOG_LEVEL": "warning"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait(at: Venue, queue: str, clips: int) -> None:
    bell = Bell(broker(at.environment["KINEMA_REDIS_URL"]))
    finished, deadline = 0, time.monotonic() + clips * SECONDS_A_CLIP
    while time.monotonic() < deadline:
        with at.database.transaction_for_any_tenant() as connection:
            finished = len(connection.exec_driver_sql(_NOTED).all())
        if finished == clips:
            return
        if bell.length(queue) == 0:  # as the dispatcher does; a worker that is at work needs none
            bell.ring(queue)
        time.sleep(1.0)
    raise RuntimeError(f"{finished} of {clips} clips are drawn")
