from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
import sqlalchemy as sa

from api import callers
from storage import keys
from storage.database import Database
from storage.keys import Caller
from tests.api.conftest import PEPPER, Tenant

PEPPERS = {"1": PEPPER.encode()}


def execute(database: Database, statement: str) -> None:
    with database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text(statement))


def test_a_revocation_is_felt_within_five_seconds(database: Database, tenant: Tenant) -> None:
    now = 100.0
    keys = callers.of_tenants(database, PEPPERS, lambda: now)
    first = keys.identify(tenant.key)
    assert first is not None
    assert first.tenant_id == tenant.id
    execute(database, "UPDATE api_keys SET revoked_at = now()")
    now += 4.9
    assert keys.identify(tenant.key) == first, "remembered"
    now += 0.1
    assert keys.identify(tenant.key) is None


def test_a_refusal_is_not_remembered(database: Database, tenant: Tenant) -> None:
    keys = callers.of_tenants(database, PEPPERS, lambda: 0.0)
    execute(database, "UPDATE tenants SET disabled_at = now()")
    assert keys.identify(tenant.key) is None
    execute(database, "UPDATE tenants SET disabled_at = NULL")
    assert keys.identify(tenant.key) is not None


def test_a_new_pepper_finds_no_old_key(database: Database, tenant: Tenant) -> None:
    assert callers.of_tenants(database, {"2": b"another"}).identify(tenant.key) is None
    assert callers.of_tenants(database, {"2": b"another", **PEPPERS}).identify(tenant.key) is not None


def test_a_use_is_written_down_and_moves_the_key_to_the_newest_pepper(database: Database, tenant: Tenant) -> None:
    newest = {"2": b"another"}
    ring = callers.of_tenants(database, {**newest, **PEPPERS})
    scribe = callers.Scribe([ring], every=3600)
    assert ring.identify(tenant.key) is not None
    assert ring.identify(tenant.key) is not None
    with database.transaction_for_any_tenant() as connection:
        (before,), _ = keys.page(connection, tenant.id, after=None, limit=1)
    scribe.stop()
    with database.transaction_for_any_tenant() as connection:
        (after,), _ = keys.page(connection, tenant.id, after=None, limit=1)
    assert (before.last_used_at, before.pepper_id) == (None, "1"), "no request waits for it"
    assert after.last_used_at is not None
    assert after.pepper_id == "2"
    assert callers.of_tenants(database, newest).identify(tenant.key) is not None
    assert callers.of_tenants(database, PEPPERS).identify(tenant.key) is None


def test_memory_is_bounded(database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MOST_REMEMBERED", 1)
    keys = callers.of_tenants(database, PEPPERS)
    for _ in range(3):
        keys._remember(new := len(keys._known).to_bytes(), keys.identify(tenant.key))
        assert new in keys._known
        assert len(keys._known) == 1


def test_uses_are_noted_while_they_are_written(database: Database) -> None:
    written: set[UUID] = set()

    def look_up(_connection: object, key: str, _peppers: object) -> Caller:
        return Caller(None, UUID(int=int(key)), (), "1")

    ring = callers.KeyRing(database, PEPPERS, look_up, lambda _connection, uses, _pepper: written.update(uses))
    with ThreadPoolExecutor(4) as threads:
        noting = [threads.submit(ring.identify, str(number)) for number in range(1000)]
        while not all(each.done() for each in noting):
            ring.write_uses()
    ring.write_uses()
    assert len(written) > 950, "a use may be lost at a hand-over, but the hand-over never fails"


def test_a_scribe_survives_a_database_that_is_away(tenant: Tenant, database: Database) -> None:
    ring = callers.of_tenants(database, PEPPERS)
    away = callers.of_administrators(Database("postgresql+psycopg://nobody@127.0.0.1:1/none", pool_size=1), PEPPERS)
    away._used[tenant.id] = None
    scribe = callers.Scribe([away, ring], every=0.05)
    assert ring.identify(tenant.key) is not None
    scribe.stop()
    with database.transaction_for_any_tenant() as connection:
        (key,), _ = keys.page(connection, tenant.id, after=None, limit=1)
    assert key.last_used_at is not None
