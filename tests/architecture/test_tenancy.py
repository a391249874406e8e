"""Tenant first: whatever reads or writes rows either names its tenant or says that it serves any."""

from __future__ import annotations

import ast
from pathlib import Path

STORAGE = Path(__file__).parents[2] / "storage"
SCOPED = {"tenant_id", "lease", "delivery", "change", "tenant"}  # a value that carries its tenant counts as one
UNSCOPED = 78  # raised in the same commit that adds such a function, and only with a reason


def functions() -> dict[str, list[str]]:
    """Public storage functions that take a connection, with their parameters."""
    found: dict[str, list[str]] = {}
    for path in STORAGE.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                names = [argument.arg for argument in node.args.args]
                if "connection" in names:
                    found[f"{path.stem}.{node.name}"] = names
    return found


def test_the_tenant_comes_first_or_the_name_says_any() -> None:
    unnamed = {
        name
        for name, parameters in functions().items()
        if not name.endswith("_for_any_tenant") and parameters[1:2] and parameters[1] not in SCOPED
    }
    assert unnamed == set()


def test_functions_for_any_tenant_are_counted() -> None:
    unscoped = sorted(name for name in functions() if name.endswith("_for_any_tenant"))
    assert len(unscoped) == UNSCOPED, unscoped
