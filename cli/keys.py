"""`kinema keys`: issue an API key, creating its tenant if need be."""

from __future__ import annotations

import argparse
import json

from runtime import settings
from storage import keys, tenants
from storage.database import Database


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("action", choices=("create",))
    parser.add_argument(
        "--tenant", default="default", metavar="NAME", help="whose key (created when it does not exist)"
    )
    parser.add_argument("--name", default="command line", help="what the key is for")
    parser.add_argument("--json", action="store_true", help="one line of JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the key: the only time that it is seen."""
    loaded = settings.load()
    database = Database(loaded.database_url, pool_size=1)
    pepper = loaded.peppers[loaded.key_pepper_id]
    with database.transaction_for_any_tenant() as connection:
        tenant = tenants.find_by_name_for_any_tenant(connection, options.tenant)
        tenant = tenant or tenants.create_for_any_tenant(connection, options.tenant)
        key = keys.issue_for_any_tenant(connection, tenant.id, options.name, pepper, loaded.key_pepper_id)
    database.close()
    print(json.dumps({"tenant": options.tenant, "api_key": key}) if options.json else key)
    return 0
