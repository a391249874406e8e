"""`kinema objects`: hold rows and objects against each other, as after a restore, and put right what differs."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from cli.operating import show
from domain import ids
from domain.administration import Actor
from domain.ids import Kind
from infra.embedded.errors import StackError
from infra.embedded.stack import located
from runtime import settings
from storage import audit, reconciliation
from storage.database import Database
from storage.objects import ObjectStore
from storage.reconciliation import Broken, Unknown
from worker.store import open_store

DELETED_AT_ONCE = 500
KINDS = {"video": Kind.VIDEO, "file": Kind.FILE, "character": Kind.CHARACTER}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("action", choices=("check", "reconcile"))
    parser.add_argument("--dry-run", action="store_true", help="for reconcile: change nothing, as check does")
    parser.add_argument(
        "--most", action="store_true", help="delete unknown objects even if they are more than half of all"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="of a running `kinema up`, in place of variables")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """0; 1 if something differs and is left as it is. Raises InvalidSettings, Unavailable."""
    try:
        here = located(options.data.resolve()).environment() if options.data else {}
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    loaded = settings.load({**os.environ, **here}, settings.NEEDS["reconcile"])
    store = open_store(loaded)
    with closing(Database(loaded.database_url, pool_size=2)) as database:
        unknown = reconciliation.unknown(database, store)
        broken = list(reconciliation.broken(database, store))
        show([*_strays(unknown), *map(_row, broken)], as_json=options.json)
        if options.action == "check" or options.dry_run:
            return 1 if unknown.keys or broken else 0
        if len(unknown.keys) * 2 > unknown.seen and not options.most:
            print(
                f"{len(unknown.keys)} of {unknown.seen} objects are unknown: is it the right database? "
                "Nothing was changed; --most deletes them all the same.",
                file=sys.stderr,
            )
            return 1
        _mend(database, store, unknown, broken)
    return 0


def _mend(database: Database, store: ObjectStore, unknown: Unknown, broken: Sequence[Broken]) -> None:
    deleted = sum(
        _delete(database, store, unknown.keys[start : start + DELETED_AT_ONCE])
        for start in range(0, len(unknown.keys), DELETED_AT_ONCE)
    )
    marked = 0
    for each in broken:
        if each.kept.what == "video":
            with database.transaction(each.kept.tenant_id) as connection:
                marked += reconciliation.mark(connection, each.kept.tenant_id, each.kept.id, lost=each.lost)
    with database.transaction_for_any_tenant() as connection:
        done = {"deleted": deleted, "marked": marked}
        audit.record_for_any_tenant(
            connection, Actor(f"cli:{getpass.getuser()}"), "objects.reconciled", store.bucket, after=done
        )


def _delete(database: Database, store: ObjectStore, keys: Sequence[str]) -> int:
    """Those that are unknown still: the look at everything took long, and what was a stray may have an owner by now."""
    with database.transaction_for_any_tenant() as connection:
        still = reconciliation.unknown_among_for_any_tenant(connection, keys)
    store.delete(still)
    return len(still)


def _strays(unknown: Unknown) -> list[dict[str, str]]:
    return [{"found": "unknown object", "what": "object", "id": key, "tenant": ""} for key in unknown.keys]


def _row(broken: Broken) -> dict[str, str]:
    kept = broken.kept
    return {
        "found": "objects lost" if broken.lost else "objects back",
        "what": kept.what,
        "id": ids.public(KINDS[kept.what], kept.id),
        "tenant": ids.public(Kind.TENANT, kept.tenant_id),
    }
