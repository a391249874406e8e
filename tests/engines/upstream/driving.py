"""One render of a far end, as a worker would make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from domain.upstream import Dialect, FarEnd
from domain.video import Plan, Size
from engines.protocol import Conditions, Step
from engines.upstream.engine import UpstreamEngine
from tests.engines.upstream import far_end as far

PLAN = Plan(
    model="wan", prompt="bars", seconds=2, rendered=Size(96, 64), rendered_fps=8, delivered=Size(96, 64), fps=8,
    seed=3, steps=4, guidance=2.5,
)  # fmt: skip
TICKET = Conditions(ticket="0a1b-7")


def engine(server: far.FarEnd, scratch: Path | None = None, key: str = "", **options: Any) -> UpstreamEngine:
    options = {"patience_seconds": 3.0, "dialect": Dialect(server.dialect), **options}
    return UpstreamEngine(FarEnd(url=server.url, **options), key, scratch)


def render(made: UpstreamEngine, plan: Plan = PLAN, conditions: Conditions = TICKET) -> tuple[np.ndarray, list[Step]]:
    steps: list[Step] = []
    return np.concatenate(list(made.render(plan, conditions, steps.append))), steps
