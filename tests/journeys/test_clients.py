from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.embedded.credentials import Credentials
from infra.embedded.postgres import LOGIN, Postgres
from storage import keys, tenants
from storage.database import Database
from tests.journeys.system import ROOT, System

SUITE = Path(__file__).with_name("client_suite.py")


def interpreter(version: str) -> Path:
    """A virtual environment with that `openai`, made once beside our own."""
    home = Path(sys.prefix) / "clients" / f"openai-{version}"
    python = home / "bin" / "python"
    whole = home / "whole"  # an install that failed half-way is made again
    if not whole.exists():
        shutil.rmtree(home, ignore_errors=True)
        uv = [str(Path(sys.prefix) / "bin" / "uv")]
        subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(home)], check=True)
        subprocess.run([*uv, "pip", "install", "-q", "--python", str(python), f"openai=={version}"], check=True)
        whole.touch()
    return python


def another_tenants_key(system: System) -> str:
    credentials = Credentials.of(system.data)
    port = json.loads((system.data / "ports.json").read_text())["postgres"]
    url = Postgres(system.data, port, credentials.postgres_owner).url(LOGIN, credentials.postgres_app)
    database = Database(url, pool_size=1)
    with database.transaction_for_any_tenant() as connection:
        other = tenants.create_for_any_tenant(connection, "other")
        key = keys.issue_for_any_tenant(connection, other.id, "test", credentials.key_pepper.encode(), "1")
    database.close()
    return key


@pytest.mark.parametrize("version", ["3.54.0", "2.54.0"])
def test_the_official_client_works_unchanged(system: System, version: str) -> None:
    environment = {
        **os.environ,
        "KINEMA_BASE_URL": system.facts["base_url"],
        "KINEMA_API_KEY": system.facts["api_key"],
        "KINEMA_OTHER_KEY": another_tenants_key(system),
    }
    ran = subprocess.run(
        [str(interpreter(version)), str(SUITE)], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == f"openai {version}: all good"
