"""Admin keys of every role, for the API of `tests/api`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain.administration import Actor, Role
from storage import administration
from storage.database import Database
from tests.api.conftest import PEPPER


@pytest.fixture
def key_of(database: Database) -> Callable[[Role], str]:
    def make(role: Role) -> str:
        with database.transaction_for_any_tenant() as connection:
            values = {"name": f"test {role}", "role": role}
            return administration.create_admin_key_for_any_tenant(
                connection, Actor("cli:tests"), values, {"1": PEPPER.encode()}
            )[1]

    return make


class Admin:
    """Requests with an admin key, below /admin/v1."""

    def __init__(self, app: TestClient, key: str) -> None:
        self.app = app
        self.headers = {"authorization": f"Bearer {key}"}

    def __call__(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        answer = self.app.request(method, f"/admin/v1{path}", headers=self.headers, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def refused(self, method: str, path: str, status: int, **options: Any) -> dict[str, Any]:
        error = self(method, path, status, **options)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


@pytest.fixture
def admin(app: TestClient, key_of: Callable[[Role], str]) -> Iterator[Admin]:
    return Admin(app, key_of(Role.ADMIN))


@pytest.fixture
def moderator(app: TestClient, key_of: Callable[[Role], str]) -> Admin:
    return Admin(app, key_of(Role.MODERATOR))


@pytest.fixture
def viewer(app: TestClient, key_of: Callable[[Role], str]) -> Admin:
    return Admin(app, key_of(Role.VIEWER))
