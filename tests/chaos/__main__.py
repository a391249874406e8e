"""Break Kinema on this machine while it works, and count what was lost or doubled."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.chaos.run import Options, run
from tests.chaos.summary import summary

SOAK = {"videos": 300, "seconds": 240.0, "outages": 2}


def main(arguments: list[str] | None = None) -> int:
    """0 if nothing was lost, doubled or left over."""
    asked = _parser().parse_args(arguments)
    options = _options(asked)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell that starts it in the background ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    # Whatever hangs: this ends the process, and the servers end with it.
    faulthandler.dump_traceback_later(options.bound_seconds, exit=True)
    try:
        with _folder(asked.keep) as data:
            outcome = run(data, options, say)
    except KeyboardInterrupt:
        say("interrupted; everything is stopped")
        return 130
    faulthandler.cancel_dump_traceback_later()
    say(summary(outcome, _again(asked, options)))
    if asked.json:
        asked.json.write_text(json.dumps({**asdict(outcome), "good": outcome.good}, indent=1))
    return 0 if outcome.good else 1


def say(line: str) -> None:
    """At once, also into a file."""
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay a run (default: draw one)")
    parser.add_argument("--videos", type=int, help="how many are asked for (120)")
    parser.add_argument("--seconds", type=float, help="of load and faults (120)")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds that every video may then take to end (60)")
    parser.add_argument("--soak", action="store_true", help="300 videos in 240 s, the store away twice for 30 s")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep data and logs there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    return parser


def _options(asked: argparse.Namespace) -> Options:
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    given = {name: value for name in ("videos", "seconds") if (value := getattr(asked, name)) is not None}
    return Options(seed, settle_seconds=asked.settle, **{**(SOAK if asked.soak else {}), **given})


def _again(asked: argparse.Namespace, options: Options) -> str:
    size = f" --videos {options.videos} --seconds {options.seconds:g}" if asked.videos or asked.seconds else ""
    return f"python3 dev.py chaos --seed {options.seed}{' --soak' if asked.soak else ''}{size}"


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="kinema-chaos-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())
