"""`kinema videos`: see what moderation holds back, and decide."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from contextlib import closing
from dataclasses import asdict

from domain import ids
from domain.lifecycle import STAGE_OF_WAITING, Stage
from runtime import settings
from storage import held
from storage.database import Database

MOST = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("action", choices=("held", "allow", "block"))
    parser.add_argument("video", nargs="?", help="the id, for allow and block")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """0; 1 with one sentence on stderr when the video is not held; 2 without an id where one is needed."""
    with closing(Database(settings.load(needs=settings.NEEDS["operate"]).database_url, pool_size=1)) as database:
        if options.action == "held":
            return _list(database, as_json=options.json)
        try:
            return _decide(database, options)
        except ids.InvalidId:
            print(f"`kinema videos {options.action}` needs the id of a held video.", file=sys.stderr)
            return 2


def _list(database: Database, *, as_json: bool) -> int:
    with database.transaction_for_any_tenant() as connection:
        found = held.list_for_any_tenant(connection, MOST)
    for each in found:
        row = {**asdict(each), "id": ids.public(ids.Kind.VIDEO, each.id)}
        print(
            json.dumps(row, default=str) if as_json else f"{row['id']}  {each.created_at:%F %T}  {each.prompt[:100]!r}"
        )
    return 0


def _decide(database: Database, options: argparse.Namespace) -> int:
    video_id = ids.parse(ids.Kind.VIDEO, options.video or "")
    with database.transaction_for_any_tenant() as connection:
        after = held.decide_for_any_tenant(connection, video_id, options.action, getpass.getuser())
    if after is None:
        print(f"{options.video} is not held.", file=sys.stderr)
        return 1
    # Nobody is rung: the dispatcher looks every second.
    goes = {None: "ended", Stage.RENDER: "waits for a renderer", Stage.PUBLISH: "waits to be published"}
    print(
        json.dumps({"id": options.video, "state": after})
        if options.json
        else f"{options.video} {goes[STAGE_OF_WAITING.get(after)]}"
    )
    return 0
