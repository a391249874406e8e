"""The exam as a whole: which parts there are, run one after the other, kept in a file so that it can go on later."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from domain.video import Size
from engines.dit import checkpoint as checkpoints
from engines.dit.engine import DitEngine
from engines.dit.evaluate import attributes, behaviour, given, judges
from engines.dit.evaluate.asking import LANDSCAPE, Exam
from engines.dit.evaluate.measure import Measure, table

Part = Callable[[Exam], list[Measure]]
Say = Callable[[float, str], None]  # share of all parts that is done, and a line

PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "single": attributes.single,
        "combination": attributes.combination,
        "synonym": attributes.synonym,
        "first-frame": given.first_frame,
        "autoencoder": given.autoencoder,
        "fill": given.fill,
        "extension": given.extension,
        "strength": given.strength,
        "motion": behaviour.motion,
        "repeatable": behaviour.repeatable,
        "judges": judges.judges,
    }
)
SPEED = "speed"  # needs the weights' folder, as it starts a process of its own
NAMES = (*PARTS, SPEED)


def evaluate(
    weights: Path = checkpoints.WEIGHTS,
    parts: Sequence[str] = NAMES,
    *,
    count: int = 100,
    steps: int = 8,
    size: Size = LANDSCAPE,
    file: Path | None = None,
    say: Say = lambda _share, _line: None,
) -> dict[str, Any]:
    """Run the parts that `file` does not hold yet for this exam of these weights -> the report, fit for JSON.

    The report is written to `file` after every part. Raises KeyError for a part that does not exist.
    """
    engine = DitEngine.load(weights)
    exam = Exam(engine, count, steps, size)
    report = begun(file, exam)
    left = [name for name in parts if name not in report["parts"]]
    for index, name in enumerate(left):
        say(index / len(left), f"{name} ...")
        began = time.monotonic()
        measures = behaviour.speed(weights, steps) if name == SPEED else PARTS[name](exam)
        spent = round(time.monotonic() - began, 1)
        report["parts"][name] = {"seconds": spent, "measures": [each.to_json() for each in measures]}
        say((index + 1) / len(left), f"{name}: {spent} s")
        if file is not None:
            file.write_text(json.dumps(report, indent=2) + "\n")
    return report


def begun(file: Path | None, exam: Exam) -> dict[str, Any]:
    """The report in a file, if it is of the same exam, else an empty one."""
    same = {"checkpoint": exam.engine.checkpoint, "count": exam.count, "steps": exam.steps, "size": str(exam.size)}
    empty = {**same, "parts": {}}
    if file is None or not file.exists():
        return empty
    stored = json.loads(file.read_text())
    return stored if all(stored.get(key) == value for key, value in same.items()) else empty


def measures_of(report: Mapping[str, Any]) -> list[Measure]:
    """All measures, in the order of NAMES."""
    parts = report["parts"]
    return [Measure.from_json(each) for name in NAMES if name in parts for each in parts[name]["measures"]]


def dropped(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The measures whose bar the later report no longer passes, or misses by more, or does not hold.

    New weights may have none of these. Raises ValueError for reports of exams that asked other things.
    """
    if unlike := [name for name in ("count", "steps", "size") if before.get(name) != after.get(name)]:
        raise ValueError(f"the reports are of exams with another {', another '.join(unlike)}")
    later = {each.what: each for each in measures_of(after)}
    pairs = ((old, later.get(old.what)) for old in measures_of(before) if old.bar is not None)
    return [old.what for old, new in pairs if new is None or (not new.passed and (old.passed or new.worse(old)))]


def markdown(report: Mapping[str, Any]) -> str:
    """The table, what it was measured on, and how long that took."""
    spent = sum(part["seconds"] for part in report["parts"].values())
    told = f"Checkpoint `{report['checkpoint'][:12]}`, {report['steps']} steps, {report['size']}"
    return f"{table(measures_of(report))}\n\n{told}, measured in {spent:.0f} s."
