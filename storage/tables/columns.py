"""Columns as every table writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, MetaData
from sqlalchemy.dialects.postgresql import JSONB

from domain.lifecycle import RUNS, TERMINAL

metadata = MetaData()

NOW = sa.func.clock_timestamp(type_=sa.TIMESTAMP(timezone=True))
# The time of the statement: only a time that stays the same throughout can be looked up in an index.
TICK = sa.func.statement_timestamp(type_=sa.TIMESTAMP(timezone=True))
CLAIMABLE = "state IN ({})".format(", ".join(f"'{run.waiting}'" for run in RUNS.values()))
LEASED = "state IN ({})".format(", ".join(f"'{run.running}'" for run in RUNS.values()))
LIVING = "state NOT IN ({})".format(", ".join(f"'{state}'" for state in sorted(TERMINAL)))


def id_(name: str = "id") -> Column[UUID]:
    """A uuid, made by `domain.ids`."""
    return Column(name, sa.Uuid, nullable=False)


def text(name: str, *, null: bool = False, default: str | None = None) -> Column[str]:
    """Text, required unless `null`."""
    return Column(name, sa.Text, nullable=null, server_default=default)


def number(name: str, *, null: bool = False, default: str | None = None) -> Column[int]:
    """A 64-bit integer, required unless `null`."""
    return Column(name, sa.BigInteger, nullable=null, server_default=default)


def time(name: str, *, null: bool = True, now: bool = False) -> Column[datetime]:
    """A moment; `now` takes it from the database at the insert."""
    return Column(name, sa.TIMESTAMP(timezone=True), nullable=null and not now, server_default=NOW if now else None)


def json(name: str, *, null: bool = False) -> Column[Any]:
    """A jsonb document."""
    return Column(name, JSONB, nullable=null)


def of_video() -> ForeignKeyConstraint:
    """The row belongs to a video of the same tenant."""
    return ForeignKeyConstraint(["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"])


def of_tenant() -> ForeignKeyConstraint:
    """The row belongs to a tenant."""
    return ForeignKeyConstraint(["tenant_id"], ["tenants.id"])
