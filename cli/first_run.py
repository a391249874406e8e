"""What a fresh installation needs before its processes start: roles, schema, a tenant, keys, a signing identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import migrations
from infra.embedded.private import read_json, write_private_json
from infra.embedded.stack import Stack
from moderation.signing import development_identity
from runtime import settings
from runtime.settings import Settings
from storage import keys, tenants
from storage.bootstrap import bootstrap
from storage.database import Database

TENANT = "default"


def migrate(stack: Stack) -> None:
    """Makes the roles and brings the schema up to date; changes nothing when both are."""
    bootstrap(stack.endpoints.owner_database_url, stack.credentials.postgres_app)
    migrations.upgrade(stack.endpoints.owner_database_url)


def ensure_api_key(data: Path, environment: Mapping[str, str]) -> str:
    """The key kept in DIR/secrets/keys.json; issued on the first run, and again when the database does not know it."""
    path = data / "secrets" / "keys.json"
    loaded = settings.load(environment)
    database = Database(loaded.database_url, pool_size=1)
    try:
        kept = str(read_json(path).get("api_key", ""))
        if _known(database, kept, loaded):
            return kept
        issued = _issue(database, loaded)
    finally:
        database.close()
    write_private_json(path, {"api_key": issued})
    return issued


def signing_settings(data: Path) -> dict[str, str]:
    """Where the development identity is: the chain, its key, and the root that verifiers trust."""
    folder = data / "secrets" / "provenance"
    _, root = development_identity(folder)
    leaf = str(folder / "leaf.pem")
    return {
        "KINEMA_PROVENANCE_CERT_FILE": leaf,
        "KINEMA_PROVENANCE_KEY_FILE": leaf,
        "KINEMA_PROVENANCE_ROOT_FILE": str(root),
    }


def _known(database: Database, key: str, loaded: Settings) -> bool:
    with database.transaction_for_any_tenant() as connection:
        return keys.identify_for_any_tenant(connection, key, loaded.peppers) is not None


def _issue(database: Database, loaded: Settings) -> str:
    with database.transaction_for_any_tenant() as connection:
        tenant = tenants.find_by_name_for_any_tenant(connection, TENANT)
        tenant = tenant or tenants.create_for_any_tenant(connection, TENANT)
        return keys.issue_for_any_tenant(
            connection, tenant.id, "first key", loaded.peppers[loaded.key_pepper_id], loaded.key_pepper_id
        )
