"""docs/operations/administration.md says what the code does: roles, scopes, fields, routes."""

from __future__ import annotations

import re
from pathlib import Path

from api.app import create_app
from domain import tenants
from domain.administration import GRANTS, Permission, Role
from domain.keys import LONGEST_OVERLAP, Scope
from domain.ledger import Meter
from moderation.policy import DEFAULT_THRESHOLD
from runtime.settings import Secret, Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operations" / "administration.md").read_text()


def rows(text: str) -> dict[str, list[str]]:
    """Rows of tables whose first cell is one piece of code."""
    found = re.findall(r"^\| `([\w:]+)` \| (.*) \|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in found}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_table_of_roles_is_the_codes() -> None:
    said = {name: [bool(cell) for cell in cells[1:]] for name, cells in rows(section("Roles")).items()}
    assert said == {permission: [permission in GRANTS[role] for role in Role] for permission in Permission}


def test_every_scope_is_explained() -> None:
    assert set(rows(section("API keys"))) == set(Scope)
    assert f"{LONGEST_OVERLAP.total_seconds():,.0f}" in section("API keys")


def test_every_field_of_a_tenant_is_explained() -> None:
    table = section("Tenants").partition("A change is felt")[0]
    assert set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))) == set(
        tenants.TENANT
    )
    assert {meter for meter in Meter if f"`{meter}`" in section("Tenants")} == set(Meter)


def test_the_policy_of_a_tenant_is_explained_with_the_installations() -> None:
    said = rows((DOCS / "moderation.md").read_text().partition("\n## Tenants\n")[2].partition("\n## ")[0])
    assert set(said) == set(tenants.MODERATION)
    assert (float(said["review_from"][-1]), float(said["block_from"][-1])) == (
        DEFAULT_THRESHOLD.review,
        DEFAULT_THRESHOLD.block,
    )


def test_every_resource_of_the_admin_api_is_named() -> None:
    paths = create_app(Settings(database_url=Secret("postgresql+psycopg://nobody@127.0.0.1:1/none"))).openapi()["paths"]
    resources = {path.split("/")[3] for path in paths if path.startswith("/admin/v1/")}
    table = section("The admin API")
    assert {name for name in resources if f"/{name}" not in table} == set()
    verbs = {path.split("/")[-1] for path in paths if path.startswith("/admin/v1/") and not path.endswith("}")}
    assert {name for name in verbs if f"/{name}`" not in table and f"/{name} " not in table} == set()
