"""`python3 dev.py chaos`: break Kinema for two minutes and count what was lost or doubled."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos.run import Options, Outcome, run


def main() -> int:
    """0 if nothing was lost, doubled or left over."""
    parser = argparse.ArgumentParser(prog="dev.py chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay a run (default: draw one)")
    parser.add_argument("--videos", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=120.0, help="of faults")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds that everything may then take to end")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep data and logs there")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    asked = Options(seed, options.videos, options.seconds, options.settle)
    if options.keep:
        return show(seed, run(options.keep.resolve(), asked))
    with tempfile.TemporaryDirectory(prefix="kinema-chaos-", ignore_cleanup_errors=True) as folder:
        return show(seed, run(Path(folder), asked))


def show(seed: int, outcome: Outcome) -> int:
    """Prints the report; its verdict as an exit status."""
    for name, value in asdict(outcome.report).items():
        print(f"  {name.replace('_', ' '):<22} {value}")
    settled = "never" if outcome.settled_seconds is None else f"{outcome.settled_seconds:.1f} s"
    print(f"  {outcome.faults} faults, {outcome.tries} requests, slowest create {outcome.slowest_create:.1f} s")
    print(f"  settled after {settled}")
    good = not outcome.report.faults() and outcome.settled_seconds is not None
    again = f"python3 dev.py chaos --seed {seed}"
    print("nothing lost, nothing doubled" if good else f"BROKEN: {outcome.report.faults()}", f"({again})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
