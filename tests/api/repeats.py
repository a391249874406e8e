"""One create, sent again and again."""

from __future__ import annotations

import httpx2
import sqlalchemy as sa

from storage.database import Database
from tests.api.conftest import Tenant

REPLAYED = "idempotent-replayed"
CREATE = "/v1/videos"


def created(database: Database, tenant: Tenant) -> int:
    """Videos of the tenant, each with one hold, one first event and nothing else."""
    with database.transaction(tenant.id) as connection:
        counts = {
            name: connection.scalar(sa.text(f"SELECT count(*) FROM {name}"))  # noqa: S608 - our own names
            for name in ("videos", "events", "ledger")
        }
    assert len(set(counts.values())) == 1, counts
    return counts["videos"]


def one(answers: list[httpx2.Response]) -> str:
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    (found,) = {answer.json()["id"] for answer in answers}
    return found
