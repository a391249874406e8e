"""The command line of the exam."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from domain.video import Size
from engines.dit import checkpoint as checkpoints
from engines.dit.engine import DitEngine
from engines.dit.evaluate import card
from engines.dit.evaluate.asking import LANDSCAPE, Exam
from engines.dit.evaluate.report import NAMES, dropped, evaluate, markdown
from engines.dit.evaluate.sheets import SHEETS, draw_sheets

IMAGES = Path("docs/img")


def main(arguments: Sequence[str] | None = None) -> int:
    """`score` or `sheets`: 0 when done. `compare`: 1 if a bar dropped, 2 for unlike exams.

    Tables go to stdout, progress to stderr.
    """
    asked = parser().parse_args(arguments)
    if asked.what == "compare":
        return compare(asked)
    torch.set_num_threads(asked.threads)
    if asked.what == "score":
        return score(asked)
    exam = Exam(DitEngine.load(asked.weights), steps=asked.steps, size=asked.size)
    began = time.monotonic()
    for path in draw_sheets(exam, asked.out, asked.sheet or tuple(SHEETS)):
        print(f"{path} {path.stat().st_size / 1e3:.0f} kB, {time.monotonic() - began:.0f} s", flush=True)
    return 0


def score(asked: argparse.Namespace) -> int:
    """The table, or the report with --json."""
    report = evaluate(
        asked.weights,
        asked.part or NAMES,
        count=asked.count,
        steps=asked.steps,
        size=asked.size,
        file=asked.file,
        say=lambda share, line: print(f"{100 * share:3.0f} % {line}", file=sys.stderr, flush=True),
    )
    print(json.dumps(report, indent=2) if asked.json else markdown(report))
    if asked.card is not None:
        card.fill(asked.card, asked.weights, report)
    return 0


def compare(asked: argparse.Namespace) -> int:
    """Whether newer weights may replace older ones."""
    try:
        fell = dropped(*(json.loads(path.read_text()) for path in (asked.before, asked.after)))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(fell) or "No bar dropped.")
    return 1 if fell else 0


def parser() -> argparse.ArgumentParser:
    """The options of both commands."""
    told = argparse.ArgumentParser(
        prog="python -m engines.dit.evaluate", description="Measure weights, or draw sheets."
    )
    commands = told.add_subparsers(dest="what", required=True)
    scoring = commands.add_parser("score", help="print the table of the model card")
    scoring.add_argument("--part", action="append", choices=NAMES, help="only this one; may be given again")
    scoring.add_argument("--count", type=int, default=100, help="prompts of the largest parts")
    scoring.add_argument("--file", type=Path, help="keep the report here after every part, and go on from it")
    scoring.add_argument("--json", action="store_true", help="print the report instead of the table")
    scoring.add_argument("--card", type=Path, help="write sizes, training and the table into this model card")
    drawing = commands.add_parser("sheets", help="draw the contact sheets")
    drawing.add_argument("--sheet", action="append", choices=tuple(SHEETS), help="only this one; may be given again")
    drawing.add_argument("--out", type=Path, default=IMAGES, help="folder for the sheets")
    comparing = commands.add_parser("compare", help="tell which bars dropped from one report to another")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    for command in (scoring, drawing):
        command.add_argument("--weights", type=Path, default=checkpoints.WEIGHTS)
        command.add_argument("--steps", type=int, default=8)
        command.add_argument("--size", type=Size.parse, default=LANDSCAPE, metavar="WIDTHxHEIGHT")
        command.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    return told
