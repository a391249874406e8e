"""`kinema tenants`: who may use the service, and how much of it."""

from __future__ import annotations

import argparse

from cli.operating import MOST, Desk, add_options, at_work, find_tenant, given, public, show
from domain import tenants as rules
from domain.errors import InvalidRequest
from domain.ids import Kind
from domain.ledger import Meter
from domain.quotas import Period
from storage import administration, ledger, tenants
from storage.tenants import Tenant

COLUMNS = ("id", "name", "weight", "render_cap", "requests_per_minute", "created_at", "disabled_at")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("create", "list", "show", "update", "disable", "enable", "quota"):
        action = actions.add_parser(name)
        action.add_argument("--json", action="store_true", help="one JSON object a line")
        if name not in {"list", "create"}:
            action.add_argument("tenant", help="id, or a name that only one has")
        if name == "create":
            action.add_argument("tenant", metavar="name")
        if name in {"create", "update"}:
            fields = {key: field for key, field in rules.TENANT.items() if (key, name) != ("name", "create")}
            add_options(action, fields)
        if name == "quota":
            action.add_argument("--meter", choices=tuple(Meter))
            action.add_argument("--limit", type=int, metavar="N", help="in whole units of the meter")
            action.add_argument("--period", choices=tuple(Period), default=Period.TOTAL)
            action.add_argument("--clear", action="store_true", help="take the limit away")


def run(options: argparse.Namespace) -> int:
    """0. Raises the refusals of `domain.errors`."""
    with at_work() as desk:
        if options.action == "quota":
            _quota(desk, options)
        elif options.action == "list":
            found, _ = tenants.page_for_any_tenant(desk.connection, after=None, limit=10 * MOST)
            show([public(Kind.TENANT, each) for each in found], as_json=options.json, columns=COLUMNS)
        else:
            row = public(Kind.TENANT, _one(desk, options))
            if options.json:
                show([row], as_json=True)
            else:
                show([{"field": name, "value": value} for name, value in row.items()], as_json=False)
    return 0


def _one(desk: Desk, options: argparse.Namespace) -> Tenant:
    if options.action == "create":
        fields = {name: field for name, field in rules.TENANT.items() if name != "name"}
        values = rules.new({"name": options.tenant, **given(options, fields)})
        return administration.create_tenant_for_any_tenant(desk.connection, desk.actor, values)
    tenant = find_tenant(desk.connection, options.tenant)
    match options.action:
        case "update":
            values = rules.changed(given(options, rules.TENANT))
            return administration.update_tenant(desk.connection, tenant.id, desk.actor, values)
        case "disable" | "enable":
            disabled = options.action == "disable"
            return administration.switch_tenant(desk.connection, tenant.id, desk.actor, disabled=disabled)
        case _:
            return tenant


def _quota(desk: Desk, options: argparse.Namespace) -> None:
    tenant = find_tenant(desk.connection, options.tenant)
    if (options.limit is not None or options.clear) and options.meter is None:
        raise InvalidRequest("Say which --meter.")
    if options.clear:
        administration.clear_quota(desk.connection, tenant.id, desk.actor, Meter(options.meter))
    elif options.limit is not None:
        administration.set_quota(
            desk.connection,
            tenant.id,
            desk.actor,
            Meter(options.meter),
            limit=options.limit,
            period=Period(options.period),
        )
    quotas = ledger.limits(desk.connection, tenant.id)
    names = ("meter", "period", "limit", "held", "used", "since")
    show([{name: getattr(each, name) for name in names} for each in quotas], as_json=options.json)
