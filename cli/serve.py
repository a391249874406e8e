"""`kinema serve`: one process of the service, as containers and `kinema up` run it."""

from __future__ import annotations

import argparse
import sys

from runtime import logs, settings
from runtime.settings import Settings

ROLES = ("api", "dispatcher", "moderator", "worker")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("role", choices=ROLES)
    parser.add_argument(
        "--queue", metavar="QUEUE[,QUEUE]", help="what a worker works off: screen, publish, deliver, render.POOL"
    )
    parser.add_argument("--concurrency", type=int, metavar="N", help="children or threads of a worker")


def run(options: argparse.Namespace) -> int:
    """Serves until SIGTERM; 2 with one sentence on stderr for a worker of nothing. Raises InvalidSettings."""
    if options.role == "worker" and not options.queue:
        print("A worker needs --queue, for example --queue render.small.", file=sys.stderr)
        return 2
    loaded = settings.load(needs=needs(options.role, options.queue))
    logs.configure(loaded.log_level)
    _serve(options, loaded)
    return 0


def needs(role: str, queues: str | None) -> frozenset[str]:
    """The settings that a process cannot do without."""
    return settings.needs_of((queues or "").split(",")) if role == "worker" else settings.NEEDS[role]


def _serve(options: argparse.Namespace, loaded: Settings) -> None:
    # Each role imports only its own libraries: the API must start without torch.
    match options.role:
        case "api":
            from api import app  # noqa: PLC0415 - see above

            app.serve(loaded)
        case "dispatcher":
            from worker import dispatcher  # noqa: PLC0415 - see above

            dispatcher.serve(loaded)
        case "moderator":
            from worker import moderator  # noqa: PLC0415 - see above

            moderator.serve(loaded.moderator_host, loaded.moderator_port)
        case _:
            from worker import app as worker  # noqa: PLC0415 - see above

            worker.serve(options.queue.split(","), options.concurrency)
