"""One application per test, on a database of its own, driven through the official client without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import OpenAI

from api.app import create_app
from infra.embedded.postgres import LOGIN
from runtime.settings import Secret, Settings
from storage import keys, tenants
from storage.database import Database
from storage.objects import ObjectStore
from storage.tables import LIVING, OPEN_BATCH
from tests.fixtures.place import place, served  # noqa: F401 - pytest finds fixtures here
from tests.fixtures.run import RunningStack
from tests.fixtures.servers import VALKEY_DATABASES, _own_database, _with_user, _worker_number


def pytest_configure(config: pytest.Config) -> None:
    """Every method of `client.videos` warns that its own server is gone."""
    config.addinivalue_line("filterwarnings", "ignore:The Sora API is scheduled:DeprecationWarning")


PEPPER = "pepper of the tests"
BASE = "http://testserver/v1"


@dataclass(frozen=True, slots=True)
class Tenant:
    id: UUID
    key: str


@pytest.fixture(scope="session")
def owner_url(stack: RunningStack, template: str) -> Iterator[str]:
    """One database for all tests of the API; `clean` makes it quiet in between."""
    yield from _own_database(stack, template)


@pytest.fixture(scope="session")
def database_url(stack: RunningStack, owner_url: str) -> str:
    return _with_user(owner_url, LOGIN, stack.app_password)


@pytest.fixture(scope="session")
def redis_url(stack: RunningStack) -> str:
    return f"{stack.endpoints.redis_url.rsplit('/', 1)[0]}/{1 + _worker_number() % VALKEY_DATABASES}"


LEFT_BEHIND = [
    f"UPDATE batches SET status = 'cancelled' WHERE {OPEN_BATCH}",  # noqa: S608 - our own statuses
    f"UPDATE videos SET state = 'cancelled' WHERE {LIVING}",  # noqa: S608 - our own states
    "UPDATE tenant_sched SET running = 0, asleep = true",
    "UPDATE attempts SET ended_at = ended_at - interval '2 days' WHERE ended_at > now() - interval '1 day'",
    "DELETE FROM workers",
    "DELETE FROM queue_snapshots",
]


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave nothing to claim and nobody to wait behind. Each test has a tenant of its own, so other rows may stay."""
    opened: Database | None = request.getfixturevalue("database") if "database" in request.fixturenames else None
    yield
    if opened is not None:
        with opened.transaction_for_any_tenant() as connection:
            for statement in LEFT_BEHIND:
                connection.execute(sa.text(statement))


@pytest.fixture(scope="session")
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
        batch_poll_seconds=0.1,
    )


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


@pytest.fixture(scope="session")
def running(settings: Settings) -> Iterator[TestClient]:
    """One application for all tests, in its lifespan."""
    with TestClient(create_app(settings), follow_redirects=False) as client:
        yield client


@pytest.fixture
def app(running: TestClient) -> TestClient:
    """Raw requests without a key."""
    running.headers.pop("authorization", None)
    return running


@pytest.fixture
def fresh_app(settings: Settings) -> Iterator[TestClient]:
    """An application that has seen nothing yet: no counts, no snapshots."""
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def http(app: TestClient, tenant: Tenant) -> TestClient:
    """The same, with the tenant's key on every request."""
    app.headers["authorization"] = f"Bearer {tenant.key}"
    return app


@pytest.fixture(scope="session")
def running_testcard(settings: Settings) -> Iterator[TestClient]:
    """An application that offers the test card, whose videos can have everything."""
    offering = replace(settings, testcard=True)
    with TestClient(create_app(offering), follow_redirects=False) as client:
        yield client


@pytest.fixture
def testcard(running_testcard: TestClient, tenant: Tenant) -> TestClient:
    """The same, with the tenant's key on every request."""
    running_testcard.headers["authorization"] = f"Bearer {tenant.key}"
    return running_testcard


@pytest.fixture
def client_of(app: TestClient) -> Callable[..., OpenAI]:
    def make(tenant: Tenant, **options: object) -> OpenAI:
        return OpenAI(api_key=tenant.key, base_url=BASE, http_client=app, **{"max_retries": 0, **options})

    return make


@pytest.fixture
def client(client_of: Callable[..., OpenAI], tenant: Tenant) -> OpenAI:
    return client_of(tenant)


@pytest.fixture
def send(app: TestClient, tenant: Tenant) -> Callable[..., Any]:
    """One POST as a client of this tenant sends it; safe to call from many threads."""

    def post(body: dict[str, Any], *, count: int | None = 0, key: str | None = None, who: Tenant = tenant) -> Any:
        headers = {"authorization": f"Bearer {who.key}"}
        headers |= {} if count is None else {"x-stainless-retry-count": str(count)}
        headers |= {} if key is None else {"idempotency-key": key}
        return app.post("/v1/videos", json=body, headers=headers)

    return post
