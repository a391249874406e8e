"""What a fresh installation needs before its processes start: roles, schema, a tenant, keys, a signing identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import migrations
from domain.administration import Actor, Role
from infra.embedded.private import read_json, write_private_json
from infra.embedded.stack import Stack
from moderation.signing import development_identity
from runtime import settings
from storage import admin_keys, administration, keys, tenants
from storage.bootstrap import bootstrap
from storage.database import Connection, Database

TENANT = "default"
ACTOR = Actor("cli:up")
Peppers = Mapping[str, bytes]


def migrate(stack: Stack) -> None:
    """Makes the roles and brings the schema up to date; changes nothing when both are."""
    bootstrap(stack.endpoints.owner_database_url, stack.credentials.postgres_app)
    migrations.upgrade(stack.endpoints.owner_database_url)


def ensure_api_key(data: Path, environment: Mapping[str, str]) -> str:
    """The key kept in DIR/secrets/keys.json; issued on the first run, and again when the database does not know it."""

    def known(connection: Connection, key: str, peppers: Peppers) -> bool:
        return keys.identify_for_any_tenant(connection, key, peppers) is not None

    return _ensure(data, environment, "api_key", known, _issue)


def ensure_admin_key(data: Path, environment: Mapping[str, str]) -> str:
    """The same of an administrator's key."""

    def known(connection: Connection, key: str, peppers: Peppers) -> bool:
        return admin_keys.identify_for_any_tenant(connection, key, peppers) is not None

    def issue(connection: Connection, peppers: Peppers) -> str:
        values = {"name": "first key", "role": Role.ADMIN}
        return administration.create_admin_key_for_any_tenant(connection, ACTOR, values, peppers)[1]

    return _ensure(data, environment, "admin_key", known, issue)


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


def _ensure(
    data: Path,
    environment: Mapping[str, str],
    name: str,
    known: Callable[[Connection, str, Peppers], bool],
    issue: Callable[[Connection, Peppers], str],
) -> str:
    path = data / "secrets" / "keys.json"
    loaded = settings.load(environment, settings.NEEDS["issue"])
    kept = read_json(path)
    with (
        closing(Database(loaded.database_url, pool_size=1)) as database,
        database.transaction_for_any_tenant() as connection,
    ):
        key = str(kept.get(name, ""))
        if known(connection, key, loaded.peppers):
            return key
        issued = issue(connection, loaded.peppers)
    write_private_json(path, {**kept, name: issued})
    return issued


def _issue(connection: Connection, peppers: Peppers) -> str:
    tenant = tenants.find_by_name_for_any_tenant(connection, TENANT)
    tenant = tenant or administration.create_tenant_for_any_tenant(connection, ACTOR, {"name": TENANT})
    return administration.create_key(connection, tenant.id, ACTOR, {"name": "first key"}, peppers)[1]
