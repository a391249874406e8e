"""Plays the lines in one mode and prints what happened as a line of JSON; exits 0 whatever failed.

`python -m tests.journeys.conformance MODE [LINE…]`; MODE is sync or async, with -strict behind it or not.
"""

from __future__ import annotations

import json
import pkgutil
import sys
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import openai

from tests.journeys.conformance.checklist import SHOWN, Show
from tests.journeys.conformance.stage import Stage

LAST = 17  # is about the answers to all others


def main(mode: str, wanted: set[int]) -> None:
    """Plays every function of the wanted lines, or of all."""
    warnings.simplefilter("ignore", DeprecationWarning)  # every method of videos warns that its own server is gone
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "__main__":
            import_module(f"tests.journeys.conformance.{module.name}")
    stage = Stage.set(mode)
    lines = sorted(wanted or SHOWN, key=lambda number: (number == LAST, number))
    played = [play(stage, number, show) for number in lines for show in SHOWN[number]]
    stage.close()
    print(json.dumps({"openai": openai.__version__, "mode": mode, "played": played}))


def play(stage: Stage, number: int, show: Show) -> dict[str, Any]:
    """The line, the function, its seconds, and its traceback if it failed."""
    begun, failure = time.monotonic(), None
    try:
        show(stage)
    except Exception:  # noqa: BLE001 - whatever it was, the report says it and the next line is played
        failure = traceback.format_exc()
    seconds = round(time.monotonic() - begun, 1)
    print(f"line {number}: {show.__name__} {'FAILED' if failure else 'ok'} in {seconds} s", file=sys.stderr, flush=True)
    return {"line": number, "name": show.__name__, "seconds": seconds, "failure": failure}


if __name__ == "__main__":
    main(sys.argv[1], {int(number) for number in sys.argv[2:]})
