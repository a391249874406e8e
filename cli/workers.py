"""`kinema workers`: who works, what waits, and letting a worker drain and resume."""

from __future__ import annotations

import argparse
import sys

from cli.operating import at_work, show
from storage import interventions, workers

COLUMNS = ("id", "queues", "state", "video_id", "started_at", "beat_at", "drain_requested_at")
STEERED = ("drain", "resume")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("action", choices=("list", "queues", *STEERED), nargs="?", default="list")
    parser.add_argument("worker", nargs="?", help="for drain and resume: the id that list shows")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """0; 2 for a drain or a resume of nobody. Raises the refusals of `domain.errors`."""
    if options.action in STEERED and not options.worker:
        print(f"`kinema workers {options.action}` needs the id of a worker.", file=sys.stderr)
        return 2
    with at_work() as desk:
        match options.action:
            case "drain":
                interventions.drain_for_any_tenant(desk.connection, desk.actor, options.worker)
                show([{"id": options.worker, "state": "asked to drain"}], as_json=options.json)
            case "resume":
                interventions.resume_for_any_tenant(desk.connection, desk.actor, options.worker)
                show([{"id": options.worker, "state": "told to resume"}], as_json=options.json)
            case "queues":
                rows = [dict(row) for row in workers.snapshots_for_any_tenant(desk.connection)]
                show([{str(name): value for name, value in row.items()} for row in rows], as_json=options.json)
            case _:
                rows = [dict(row) for row in workers.list_for_any_tenant(desk.connection)]
                named = [{str(name): value for name, value in row.items()} for row in rows]
                show(named, as_json=options.json, columns=COLUMNS)
    return 0
