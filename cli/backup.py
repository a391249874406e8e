"""`kinema backup`: copy what `kinema up` keeps while it runs: database, objects, secrets."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from infra.embedded import copies
from infra.embedded.errors import StackError
from infra.embedded.own_servers import refuse_own
from infra.embedded.stack import located


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("target", type=Path, metavar="DIR", help="a new folder for the copy")
    parser.add_argument("--data", type=Path, default=Path(".kinema"), help="what `kinema up` runs on")
    parser.add_argument("--no-objects", action="store_true", help="leave the videos themselves out")


def run(options: argparse.Namespace) -> int:
    """0; 1 with one sentence on stderr when there is no whole copy."""
    try:
        refuse_own(os.environ, "backup")
        at = located(options.data.resolve())
        with_objects = not options.no_objects
        count = copies.make(options.data.resolve(), at, options.target.resolve(), with_objects=with_objects)
    except (StackError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.target} holds the database, the secrets and {count} objects. Keep it as you keep a password.")
    return 0
