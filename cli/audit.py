"""`kinema audit`: who changed what."""

from __future__ import annotations

import argparse

from cli.operating import MOST, at_work, find_tenant, public, show
from domain.ids import Kind
from domain.usage import moment
from storage import audit
from storage.audit import Wanted

COLUMNS = ("at", "actor", "action", "target", "before", "after")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--tenant", help="id or name")
    parser.add_argument("--actor", help="an admin key's id, or cli:USER")
    parser.add_argument("--action", help="for example key.revoked")
    parser.add_argument("--target", metavar="ID", help="what was changed")
    parser.add_argument("--since", metavar="TIME", help="a date, ISO 8601 time or Unix seconds")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help=f"at most {MOST}; the newest come first")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """0. Raises the refusals of `domain.errors`."""
    with at_work() as desk:
        wanted = Wanted(
            tenant=find_tenant(desk.connection, options.tenant).id if options.tenant else None,
            actor=options.actor,
            action=options.action,
            target=options.target,
            since=moment(options.since, "--since") if options.since else None,
        )
        limit = min(max(options.limit, 0), MOST)
        found, _ = audit.page_for_any_tenant(desk.connection, wanted, after=None, limit=limit)
    show([public(Kind.AUDIT_ENTRY, each) for each in found], as_json=options.json, columns=COLUMNS)
    return 0
