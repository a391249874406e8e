"""`kinema admin-keys`: keys of administrators. A key is printed by the command that makes it, and never again."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta

from cli.operating import MOST, Desk, add_options, at_work, given, parse, public, show
from domain.administration import ADMIN_KEY, Role
from domain.fields import check
from domain.ids import Kind
from domain.keys import OVERLAP, ROTATION
from runtime import settings
from storage import admin_keys, administration
from storage.admin_keys import AdminKey

COLUMNS = ("id", "name", "role", "hint", "created_at", "expires_at", "revoked_at", "last_used_at")
_EXPIRY = {"expires_in": ADMIN_KEY["expires_in"]}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("create", "list", "rotate", "revoke"):
        action = actions.add_parser(name)
        action.add_argument("--json", action="store_true", help="one JSON object a line")
        if name == "create":
            action.add_argument("name", help="who or what the key is for")
            action.add_argument("--role", choices=tuple(Role), default=Role.ADMIN)
            add_options(action, _EXPIRY)
        elif name != "list":
            action.add_argument("key", help="the id, adm_…")
        if name == "rotate":
            add_options(action, ROTATION)


def run(options: argparse.Namespace) -> int:
    """0. Raises the refusals of `domain.errors`."""
    with at_work(settings.NEEDS["issue" if options.action in {"create", "rotate"} else "operate"]) as desk:
        match options.action:
            case "list":
                found, _ = admin_keys.page_for_any_tenant(desk.connection, after=None, limit=MOST)
                show([public(Kind.ADMIN_KEY, each) for each in found], as_json=options.json, columns=COLUMNS)
            case "revoke":
                key_id = parse(Kind.ADMIN_KEY, options.key)
                ended = administration.revoke_admin_key_for_any_tenant(desk.connection, desk.actor, key_id)
                show([public(Kind.ADMIN_KEY, ended)], as_json=options.json, columns=COLUMNS)
            case _:
                made, key = _made(desk, options)
                row = {"id": public(Kind.ADMIN_KEY, made)["id"], "role": made.role, "admin_key": key}
                print(json.dumps(row) if options.json else key)
    return 0


def _made(desk: Desk, options: argparse.Namespace) -> tuple[AdminKey, str]:
    peppers = desk.settings.peppers
    if options.action == "create":
        values = check(ADMIN_KEY, {"name": options.name, "role": options.role, **given(options, _EXPIRY)})
        return administration.create_admin_key_for_any_tenant(desk.connection, desk.actor, values, peppers)
    values = check(ROTATION, given(options, ROTATION))
    overlap = timedelta(seconds=values.get("overlap_seconds", OVERLAP.total_seconds()))
    key_id = parse(Kind.ADMIN_KEY, options.key)
    return administration.rotate_admin_key_for_any_tenant(
        desk.connection, desk.actor, key_id, overlap=overlap, peppers=peppers
    )
