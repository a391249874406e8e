"""`kinema migrate`: roles, schema and bucket as this version needs them; safe to run again and by several at once."""

from __future__ import annotations

import argparse
import sys

import migrations
from runtime import settings
from storage.bootstrap import bootstrap, password_of
from worker.store import open_store


def configure(_parser: argparse.ArgumentParser) -> None:
    """No options: KINEMA_OWNER_DATABASE_URL and KINEMA_DATABASE_URL say where."""


def run(_options: argparse.Namespace) -> int:
    """0 when the schema is current; 2 when no owner is configured."""
    loaded = settings.load(needs=settings.NEEDS["migrate"])
    if not loaded.owner_database_url:
        print("Set KINEMA_OWNER_DATABASE_URL: only the owner of the database may change its schema.", file=sys.stderr)
        return 2
    password = password_of(loaded.database_url)
    if not password:
        print("KINEMA_DATABASE_URL needs a password for the login role.", file=sys.stderr)
        return 2
    bootstrap(loaded.owner_database_url, password)
    migrations.upgrade(loaded.owner_database_url)
    open_store(loaded).ensure_bucket()
    print("Schema and bucket are current.")
    return 0
