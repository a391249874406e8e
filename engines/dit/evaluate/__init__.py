"""Measure a checkpoint with the judges, and draw what it makes: `python -m engines.dit.evaluate score|sheets`.

`score` prints the table of the model card: what the judges say about the model's clips, about the renderer's own
clips (the ceiling) and about clips under another clip's caption (chance), and how the model keeps to what it is given.
`sheets` draws the contact sheets of the docs.
"""

from engines.dit.evaluate.asking import Exam, frames_of, plan_for, rendered
from engines.dit.evaluate.command import main
from engines.dit.evaluate.measure import Measure, table
from engines.dit.evaluate.report import NAMES, dropped, evaluate, markdown, measures_of
from engines.dit.evaluate.sheets import SHEETS, draw_sheets

__all__ = [
    "NAMES", "SHEETS", "Exam", "Measure", "draw_sheets", "dropped", "evaluate", "frames_of", "main", "markdown",
    "measures_of", "plan_for", "rendered", "table",
]  # fmt: skip
