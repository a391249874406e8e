"""What /openapi.json says, held against what the server does: generated requests, every check of schemathesis."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.app import create_app
from domain.administration import Actor, Role
from runtime.settings import Secret, Settings
from storage import administration
from storage.database import Database
from tests.api.conftest import PEPPER, Tenant
from tests.api.sse import Live, serving
from tests.worker.conftest import moderator

__all__ = ["moderator"]

EXAMPLES = 8  # of each operation, good and bad
SNAPSHOT = Path(__file__).with_name("openapi.txt")
REFRESH = "KINEMA_REFRESH_SNAPSHOT"
# No schema can say that a text is the id of a file, a picture, a model that is installed or a day that exists; such a
# value is refused with 400, which the document announces. All other checks of schemathesis are on.
EXEMPTED = [positive_data_acceptance]
NOWHERE = Settings(
    database_url=Secret("postgresql+psycopg://nobody@127.0.0.1:1/nothing"),
    redis_url=Secret("redis://127.0.0.1:1/0"),
    s3_access_key=Secret("none"),
    s3_secret_key=Secret("none"),
    key_pepper=Secret("none"),
    webhook_key=Secret(base64.b64encode(bytes(32)).decode()),
)
DOCUMENT = create_app(NOWHERE).openapi()
OPERATIONS = [each.ok() for each in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]


def test_the_document_is_the_one_that_was_agreed_on() -> None:
    """A change of the interface is a change of this file: `KINEMA_REFRESH_SNAPSHOT=1 pytest tests/api/test_spec.py`."""
    now = "\n".join([*outline(DOCUMENT), ""])
    if os.environ.get(REFRESH):
        SNAPSHOT.write_text(now)
    assert now.splitlines() == SNAPSHOT.read_text().splitlines()


def outline(document: dict[str, Any]) -> Iterator[str]:
    """The document as one reads it: operations with parameters, bodies and statuses; then every schema by field."""
    for path, operations in sorted(document["paths"].items()):
        for method, operation in operations.items():
            yield f"{method.upper()} {path}: {' '.join(sorted(operation['responses']))}"
            for each in operation.get("parameters", ()):
                yield f"  {each['in']} {each['name']}{'*' if each.get('required') else ''}: {kind(each['schema'])}"
            for encoding, body in operation.get("requestBody", {}).get("content", {}).items():
                yield f"  {encoding}: {kind(body['schema'])}"
            for encoding, body in operation["responses"].get("200", {}).get("content", {}).items():
                yield f"  answers {encoding}: {kind(body.get('schema', {}))}"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f"{name}: {kind(schema)}"


def kind(schema: dict[str, Any]) -> str:
    """A schema in a few words; required fields have a star."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(kind(each) for each in schema[several])
    if "enum" in schema or "const" in schema:
        return "/".join(str(each) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"[{kind(schema['items'])}]" if "items" in schema else "[]"
    if "properties" in schema:
        star = set(schema.get("required", ()))
        fields = (f"{name}{'*' if name in star else ''} {kind(of)}" for name, of in schema["properties"].items())
        return "{" + ", ".join(fields) + "}"
    limits = {
        name: schema[name] for name in ("minimum", "maximum", "minLength", "maxLength", "default") if name in schema
    }
    return " ".join([str(schema.get("type", "any")), *(f"{name}={value}" for name, value in limits.items())])


@pytest.fixture(scope="module")
def live(settings: Settings, moderator: Any) -> Iterator[Live]:
    with serving(replace(settings, moderation_url=moderator)) as served:
        yield served


@pytest.fixture
def admin_key(database: Database) -> str:
    with database.transaction_for_any_tenant() as connection:
        values = {"name": "schemathesis", "role": Role.ADMIN}
        actor = Actor("cli:tests")
        return administration.create_admin_key_for_any_tenant(connection, actor, values, {"1": PEPPER.encode()})[1]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.label)
def test_the_server_does_what_its_document_says(operation: Any, live: Live, tenant: Tenant, admin_key: str) -> None:
    """No 5xx, no status and no body that the document does not know; bad requests are refused."""
    key = admin_key if operation.path.startswith("/admin") else tenant.key

    @given(case=operation.as_strategy())
    @bounds(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
    def probe(case: Any) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        case.call_and_validate(base_url=live.url, headers=headers, timeout=30, excluded_checks=EXEMPTED)

    probe()
