"""`kinema keys`: API keys of tenants. A key is printed by the command that makes it, and never again."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta

from cli.operating import MOST, Desk, add_options, at_work, find_tenant, given, parse, public, show
from domain import keys as rules
from domain.errors import NotFound
from domain.fields import check
from domain.ids import Kind
from runtime import settings
from storage import administration, keys
from storage.keys import Key
from storage.tenants import Tenant

COLUMNS = ("id", "name", "hint", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")
_SETTABLE = {name: field for name, field in rules.API_KEY.items() if name != "scopes"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("create", "list", "update", "rotate", "revoke"):
        action = actions.add_parser(name)
        action.add_argument("--json", action="store_true", help="one JSON object a line")
        if name in {"create", "list"}:
            action.add_argument("--tenant", default="default", help="id or name; create makes one that does not exist")
        else:
            action.add_argument("key", help="the id, key_…")
        if name in {"create", "update"}:
            add_options(action, _SETTABLE)
            action.add_argument("--scope", action="append", choices=tuple(rules.Scope), help="repeat for several")
        if name == "rotate":
            add_options(action, rules.ROTATION)


def run(options: argparse.Namespace) -> int:
    """0. Raises the refusals of `domain.errors`."""
    with at_work(settings.NEEDS["issue" if options.action in {"create", "rotate"} else "operate"]) as desk:
        match options.action:
            case "create":
                _print_new(*_create(desk, options), options)
            case "rotate":
                _print_new(*_rotate(desk, options), options)
            case "list":
                tenant = find_tenant(desk.connection, options.tenant)
                found, _ = keys.page(desk.connection, tenant.id, after=None, limit=MOST)
                show([public(Kind.KEY, each) for each in found], as_json=options.json, columns=COLUMNS)
            case _:
                show([public(Kind.KEY, _changed(desk, options))], as_json=options.json, columns=COLUMNS)
    return 0


def _create(desk: Desk, options: argparse.Namespace) -> tuple[Key, str]:
    scopes: list[str] = options.scope or []
    asked = {"name": "command line", **given(options, _SETTABLE), "scopes": scopes}
    values = check(rules.API_KEY, asked)
    tenant = _tenant(desk, options.tenant)
    return administration.create_key(desk.connection, tenant.id, desk.actor, values, desk.settings.peppers)


def _tenant(desk: Desk, text: str) -> Tenant:
    try:
        return find_tenant(desk.connection, text)
    except NotFound:
        if text.startswith(f"{Kind.TENANT}_"):
            raise
        return administration.create_tenant_for_any_tenant(desk.connection, desk.actor, {"name": text})


def _rotate(desk: Desk, options: argparse.Namespace) -> tuple[Key, str]:
    key = _the_key(desk, options.key)
    values = check(rules.ROTATION, given(options, rules.ROTATION))
    overlap = timedelta(seconds=values.get("overlap_seconds", rules.OVERLAP.total_seconds()))
    return administration.rotate_key(
        desk.connection, key.tenant_id, desk.actor, key.id, overlap=overlap, peppers=desk.settings.peppers
    )


def _changed(desk: Desk, options: argparse.Namespace) -> Key:
    key = _the_key(desk, options.key)
    if options.action == "revoke":
        return administration.revoke_key(desk.connection, key.tenant_id, desk.actor, key.id)
    asked = given(options, _SETTABLE) | ({} if options.scope is None else {"scopes": options.scope})
    values = check(rules.API_KEY, asked)
    return administration.update_key(desk.connection, key.tenant_id, desk.actor, key.id, values)


def _the_key(desk: Desk, text: str) -> Key:
    found = keys.find_for_any_tenant(desk.connection, parse(Kind.KEY, text))
    if found is None:
        raise NotFound(f"There is no key {text}.")
    return found


def _print_new(made: Key, key: str, options: argparse.Namespace) -> None:
    if options.json:
        row = public(Kind.KEY, made)
        print(json.dumps({"id": row["id"], "tenant": row["tenant_id"], "api_key": key}))
    else:
        print(key)
