"""Where third-party code may live. What imports what among our own packages is import-linter's, in pyproject.toml."""

from __future__ import annotations

import ast
import base64
import importlib.util
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
PACKAGES: list[str] = CONTRACT["root_packages"]

# Library -> the packages or modules that may import it, lazily or not.
HOMES = {
    "torch": ("engines", "moderation.classifier", "moderation.train"),
    "transformers": ("engines", "moderation.classifier", "moderation.train"),
    "diffusers": ("engines",),
    "sqlalchemy": ("storage", "migrations"),
    "alembic": ("migrations",),
    "boto3": ("storage.objects",),
    "botocore": ("storage.objects",),
    "celery": ("worker", "storage.hints"),
    "kombu": ("worker", "storage.hints"),
    "fastapi": ("api", "worker.moderator"),
    "starlette": ("api", "worker.moderator"),
    "c2pa": ("moderation",),
    "av": ("moderation", "engines"),
    "PIL": ("moderation.media", "engines"),
    "psycopg": ("storage", "infra.embedded"),
    "redis": ("storage", "worker", "infra.embedded"),
    "psutil": ("infra.embedded",),
}


# What a process refuses to start without; nothing listens there.
SETTINGS = {
    "KINEMA_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
    "KINEMA_REDIS_URL": "redis://127.0.0.1:1/0",
    "KINEMA_S3_ACCESS_KEY": "none",
    "KINEMA_S3_SECRET_KEY": "none",
    "KINEMA_KEY_PEPPER": "none",
    "KINEMA_WEBHOOK_KEY": base64.b64encode(bytes(32)).decode(),
}


def sources() -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module that we ship."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield dotted, path


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def below(module: str, home: str) -> bool:
    return module == home or module.startswith(f"{home}.")


def test_every_package_is_in_the_contract_and_is_ours() -> None:
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert set(PACKAGES) == ours
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin == str(ROOT / package / "__init__.py")


def test_every_package_has_a_row_in_the_layers() -> None:
    layers = next(contract["layers"] for contract in CONTRACT["contracts"] if contract["type"] == "layers")
    assert {name.strip() for layer in layers for name in layer.split("|")} == set(PACKAGES)


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_imported_at_home_only(library: str) -> None:
    strangers = [
        module
        for module, path in sources()
        if library in imported(path) and not any(below(module, home) for home in HOMES[library])
    ]
    assert strangers == []


def test_the_rules_need_nothing_but_the_standard_library() -> None:
    allowed = {*sys.stdlib_module_names, "domain"}
    foreign = {
        module: extra for module, path in sources() if below(module, "domain") and (extra := imported(path) - allowed)
    }
    assert foreign == {}


def test_dev_py_needs_nothing_but_the_standard_library() -> None:
    assert imported(ROOT / "dev.py") <= set(sys.stdlib_module_names)


def loaded(entrance: str, *libraries: str) -> list[str]:
    """Which of the libraries a process has loaded once it has imported its entrance."""
    code = f"import sys, {entrance}; print([name for name in {libraries} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    names: list[str] = ast.literal_eval(answer.stdout)
    return names


@pytest.mark.parametrize(
    "entrance",
    ["api.app", "worker.app", "worker.dispatcher", "worker.pipeline.screen", "worker.pipeline.publish", "cli.main"],
)
def test_a_process_that_does_not_render_never_loads_torch(entrance: str) -> None:
    assert loaded(entrance, "torch", "transformers") == []


def test_the_process_of_the_api_never_loads_a_decoder() -> None:
    assert loaded("api.app", "av", "PIL", "numpy") == []
