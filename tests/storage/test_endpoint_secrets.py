from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID

import pytest

from domain.errors import Conflict
from storage import endpoint_secrets, webhooks
from storage.secrets import unseal
from tests.fixtures.videos import World
from tests.storage.test_lanes import register

KEYS = {"1": secrets.token_bytes(32)}
HOUR = timedelta(hours=1)


def rotate(world: World, tenant: UUID, endpoint: UUID, overlap: timedelta) -> str | None:
    with world.database.transaction(tenant) as connection:
        return endpoint_secrets.rotate(connection, tenant, endpoint, KEYS, overlap)


def active(world: World, tenant: UUID, endpoint: UUID) -> list[str]:
    with world.database.transaction(tenant) as connection:
        return [unseal(each, KEYS, endpoint) for each in endpoint_secrets.active(connection, tenant, endpoint)]


def test_at_most_four_secrets_sign_at_a_time_and_the_oldest_goes(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction(tenant) as connection:
        endpoint, first = webhooks.create(
            connection, tenant, name="n", url="https://example.com/", event_types=[], keys=KEYS
        )
    made = [first, *(rotate(world, tenant, endpoint.id, HOUR) for _ in range(5))]
    assert active(world, tenant, endpoint.id) == made[:-5:-1]


def test_without_an_overlap_every_older_one_ends_at_once(world: World) -> None:
    tenant = world.tenant()
    endpoint = register(world, tenant).id
    rotate(world, tenant, endpoint, HOUR)
    last = rotate(world, tenant, endpoint, timedelta())
    with world.database.transaction(tenant) as connection:
        assert len(endpoint_secrets.active(connection, tenant, endpoint)) == 1
    assert active(world, tenant, endpoint) == [last]


def test_an_overlap_ends_by_itself(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction(tenant) as connection:
        default = endpoint_secrets.default(connection, tenant, KEYS)
    new = rotate(world, tenant, default.owner, timedelta(milliseconds=200))
    assert len(active(world, tenant, default.owner)) == 2
    with world.database.transaction(tenant) as connection:
        connection.exec_driver_sql("SELECT pg_sleep(0.3)")
    assert active(world, tenant, default.owner) == [new]


def test_a_tenant_has_one_default_secret_made_at_its_first_use(world: World) -> None:
    tenant, other = world.tenant("one"), world.tenant("two")
    with world.database.transaction(tenant) as connection:
        first = endpoint_secrets.default(connection, tenant, KEYS)
    with world.database.transaction(tenant) as connection:
        assert endpoint_secrets.default(connection, tenant, KEYS) == first
    with world.database.transaction(other) as connection:
        theirs = endpoint_secrets.default(connection, other, KEYS)
    assert theirs.owner != first.owner
    assert unseal(first.secret, KEYS, first.owner).startswith("whsec_")
    assert rotate(world, other, first.owner, HOUR) is None, "it is somebody else's"


def test_beyond_its_limit_a_tenant_gets_no_endpoint(world: World) -> None:
    tenant = world.tenant()

    def create() -> None:
        with world.database.transaction(tenant) as connection:
            webhooks.create(connection, tenant, name="n", url="https://example.com/", event_types=[], keys=KEYS, most=2)

    with world.database.transaction(tenant) as connection:
        endpoint_secrets.default(connection, tenant, KEYS)
    create()
    create()
    with pytest.raises(Conflict) as refused:
        create()
    assert refused.value.code == "webhook_endpoint_limit"
    with world.database.transaction(tenant) as connection:
        [newest, _] = webhooks.page(connection, tenant, after=None, limit=9).endpoints
        assert webhooks.delete(connection, tenant, newest.id)
    create()
