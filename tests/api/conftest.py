"""One application per test, on a database of its own, driven through the official client without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from openai import OpenAI

from api.app import create_app
from runtime.settings import Secret, Settings
from storage import keys, tenants
from storage.database import Database
from storage.objects import ObjectStore
from tests.fixtures.run import RunningStack


def pytest_configure(config: pytest.Config) -> None:
    """Every method of `client.videos` warns that its own server is gone."""
    config.addinivalue_line("filterwarnings", "ignore:The Sora API is scheduled:DeprecationWarning")


PEPPER = "pepper of the tests"
BASE = "http://testserver/v1"


@dataclass(frozen=True, slots=True)
class Tenant:
    id: UUID
    key: str


@pytest.fixture
def settings(stack: RunningStack, database_url: str, redis_url: str, object_store: ObjectStore) -> Settings:
    at = stack.endpoints
    return Settings(
        database_url=Secret(database_url),
        redis_url=Secret(redis_url),
        s3_endpoint_url=at.s3_endpoint_url,
        s3_access_key=Secret(at.s3_access_key),
        s3_secret_key=Secret(at.s3_secret_key),
        s3_bucket=object_store.bucket,
        s3_region=at.s3_region,
        key_pepper=Secret(PEPPER),
        webhook_key=Secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        max_upload_bytes=1_000_000,
    )


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The tests' own connections: what a worker or an operator would do."""
    opened = Database(database_url, pool_size=2)
    yield opened
    opened.close()


@pytest.fixture
def new_tenant(database: Database) -> Callable[[str], Tenant]:
    def make(name: str) -> Tenant:
        with database.transaction_for_any_tenant() as connection:
            tenant = tenants.create_for_any_tenant(connection, name)
            key = keys.issue_for_any_tenant(connection, tenant.id, "test", PEPPER.encode(), "1")
        return Tenant(tenant.id, key)

    return make


@pytest.fixture
def tenant(new_tenant: Callable[[str], Tenant]) -> Tenant:
    return new_tenant("alice")


@pytest.fixture
def app(settings: Settings) -> Iterator[TestClient]:
    """The application without a key: raw requests, no retries, no redirects."""
    with TestClient(create_app(settings), raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def http(app: TestClient, tenant: Tenant) -> TestClient:
    """The same, with the tenant's key on every request."""
    app.headers["authorization"] = f"Bearer {tenant.key}"
    return app


@pytest.fixture
def client_of(app: TestClient) -> Callable[..., OpenAI]:
    def make(tenant: Tenant, **options: object) -> OpenAI:
        return OpenAI(api_key=tenant.key, base_url=BASE, http_client=app, **{"max_retries": 0, **options})

    return make


@pytest.fixture
def client(client_of: Callable[..., OpenAI], tenant: Tenant) -> OpenAI:
    return client_of(tenant)
