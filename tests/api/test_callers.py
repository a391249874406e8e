from __future__ import annotations

import pytest
import sqlalchemy as sa

from api import callers
from storage import keys
from storage.database import Database
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
