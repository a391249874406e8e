"""`kinema videos`: find videos of any tenant, steer them, and decide about what moderation holds back."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from uuid import UUID

from cli.operating import MOST, Desk, at_database, at_work, find_tenant, parse, show
from domain import ids
from domain.ids import Kind
from domain.lifecycle import STAGE_OF_WAITING, Stage, State
from runtime import settings
from storage import held, inspection, interventions, retries
from storage.inspection import Inspected, Wanted
from worker.store import open_store

COLUMNS = ("id", "tenant", "state", "model", "error", "created_at", "prompt")
GOES = {None: "ended", Stage.RENDER: "waits for a renderer", Stage.PUBLISH: "waits to be published"}
ONE = ("show", "cancel", "delete", "retry", "allow", "block")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("action", choices=("list", "held", *ONE))
    parser.add_argument("video", nargs="?", help="the id, for all but list and held")
    parser.add_argument("--tenant", help="for list: id or name")
    parser.add_argument("--state", choices=tuple(State), help="for list")
    parser.add_argument("--model", help="for list: as asked or as resolved")
    parser.add_argument("--error", metavar="CODE", help="for list")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help=f"for list: at most {MOST}")
    parser.add_argument("--note", help="for allow and block: why; for the audit log")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """0; 2 without an id where one is needed. Raises the refusals of `domain.errors`."""
    if options.action in ONE and not options.video:
        print(f"`kinema videos {options.action}` needs the id of a video.", file=sys.stderr)
        return 2
    if options.action == "retry":
        show([_row(_retried(parse(Kind.VIDEO, options.video)))], as_json=options.json, columns=COLUMNS)
        return 0
    with at_work() as desk:
        if options.action == "held":
            rows = [
                {"id": ids.public(Kind.VIDEO, each.id), "created_at": each.created_at, "prompt": each.prompt}
                for each in held.list_for_any_tenant(desk.connection, MOST)
            ]
            show(rows, as_json=options.json)
        elif options.action == "list":
            show([_row(each) for each in _found(desk, options)], as_json=options.json, columns=COLUMNS)
        else:
            _one(desk, options)
    return 0


def _found(desk: Desk, options: argparse.Namespace) -> tuple[Inspected, ...]:
    wanted = Wanted(
        tenant=find_tenant(desk.connection, options.tenant).id if options.tenant else None,
        state=State(options.state) if options.state else None,
        model=options.model,
        error=options.error,
    )
    limit = min(max(options.limit, 0), MOST)
    return inspection.page_for_any_tenant(desk.connection, wanted, after=None, limit=limit)[0]


def _one(desk: Desk, options: argparse.Namespace) -> None:
    video_id = parse(Kind.VIDEO, options.video)
    match options.action:
        case "show":
            found = interventions.the_video_for_any_tenant(desk.connection, video_id)
        case "cancel":
            found = interventions.cancel_for_any_tenant(desk.connection, desk.actor, video_id)
        case "delete":
            interventions.delete_for_any_tenant(desk.connection, desk.actor, video_id)
            found = interventions.the_video_for_any_tenant(desk.connection, video_id)
        case _:
            found = interventions.decide_for_any_tenant(
                desk.connection, desk.actor, video_id, decision=options.action, note=options.note
            )
            return _print_decision(options, found)
    show([_row(found)], as_json=options.json, columns=COLUMNS)
    return None


def _retried(video_id: UUID) -> Inspected:
    """The store's settings are asked for only where something was uploaded for the video. Raises InvalidSettings."""
    with at_database() as (database, actor, loaded):
        return retries.retry_for_any_tenant(
            database,
            lambda: open_store(settings.load(needs=settings.NEEDS["reconcile"])),
            actor,
            video_id,
            loaded.queue_timeout_seconds,
        )


def _print_decision(options: argparse.Namespace, found: Inspected) -> None:
    """Nobody is rung: the dispatcher looks every second."""
    state = found.video.state
    said = f"{options.video} {GOES[STAGE_OF_WAITING.get(state)]}"
    print(json.dumps({"id": options.video, "state": state}) if options.json else said)


def _row(found: Inspected) -> dict[str, Any]:
    video = found.video
    return {
        "id": ids.public(Kind.VIDEO, video.id),
        "tenant": ids.public(Kind.TENANT, video.tenant_id),
        "state": video.state,
        "model": video.model,
        "error": video.error_code,
        "retry_of": None if found.retry_of is None else ids.public(Kind.VIDEO, found.retry_of),
        "created_at": video.created_at,
        "completed_at": video.completed_at,
        "deleted_at": found.deleted_at,
        "prompt": video.request.prompt[:100],
    }
