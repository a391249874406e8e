"""`kinema secrets`: what is still under an older pepper or encryption key, and moving it to the newest."""

from __future__ import annotations

import argparse
import sys

from cli.operating import at_work, show
from domain.administration import Actor
from runtime import settings
from runtime.settings import Settings
from storage import admin_keys, audit, keys, sealed
from storage.database import Connection
from storage.secrets import UnreadableSecret

BATCH = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("action", choices=("status", "reseal"))
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """0; 1 with one sentence on stderr when the key of a secret is not configured."""
    if options.action == "reseal":
        try:
            show([{"resealed": _reseal()}], as_json=options.json)
        except UnreadableSecret as error:
            print(f"Nothing more can be moved: {error}.", file=sys.stderr)
            return 1
        return 0
    with at_work(settings.NEEDS["operate"]) as desk:
        show(_status(desk.connection, desk.settings), as_json=options.json)
    return 0


def _status(connection: Connection, loaded: Settings) -> list[dict[str, object]]:
    """One row for each kind and id that is configured or in use."""
    found = [
        ("API keys", keys.by_pepper_for_any_tenant(connection), list(loaded.peppers)),
        ("admin keys", admin_keys.by_pepper_for_any_tenant(connection), list(loaded.peppers)),
        ("webhook secrets", sealed.by_key_for_any_tenant(connection), list(loaded.webhook_keys)),
    ]
    return [
        {"what": what, "under": name, "count": counts.get(name, 0), "configured": name in configured}
        for what, counts, configured in found
        for name in dict.fromkeys([*configured, *counts])
    ]


def _reseal() -> int:
    """A transaction for each batch; each leaves its row in the audit log."""
    total = 0
    while True:
        with at_work({"database_url", "webhook_key"}) as desk:
            done = sealed.reseal_for_any_tenant(desk.connection, desk.settings.webhook_keys, BATCH)
            if done:
                _note(desk.connection, desk.actor, desk.settings, done)
        if not done:
            return total
        total += done


def _note(connection: Connection, actor: Actor, loaded: Settings, count: int) -> None:
    newest = next(iter(loaded.webhook_keys))
    audit.record_for_any_tenant(connection, actor, "secrets.resealed", "webhook_secrets", after={newest: count})
