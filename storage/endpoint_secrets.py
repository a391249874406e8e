"""What signs: each endpoint's secrets, of which several may sign at a time, and the tenant's default one.

Secrets are encrypted; `keys` are those of the settings, and the first of them encrypts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from domain.ids import new_id
from domain.webhooks import MAX_SECRETS, SECRET_PREFIX, new_secret
from storage.secrets import Sealed, seal
from storage.tables import NOW, webhook_endpoints, webhook_secrets


@dataclass(frozen=True, slots=True)
class Default:
    """The secret that signs what goes to the `webhook_url` of requests. `secret` opens for `owner`."""

    owner: UUID
    secret: Sealed
    hint: str
    created_at: datetime
    updated_at: datetime


def add(connection: Connection, tenant_id: UUID, endpoint_id: UUID, keys: Mapping[str, bytes]) -> str:
    """A secret for a new endpoint; the only time that it is seen."""
    secret = new_secret()
    sealed = seal(secret, keys, endpoint_id)
    connection.execute(
        sa.insert(webhook_secrets).values(
            id=new_id(),
            tenant_id=tenant_id,
            endpoint_id=endpoint_id,
            ciphertext=sealed.ciphertext,
            key_id=sealed.key_id,
            hint=f"{SECRET_PREFIX}…{secret[-4:]}",
        )
    )
    return secret


def rotate(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, keys: Mapping[str, bytes], overlap: timedelta
) -> str | None:
    """A new secret; None if there is no such endpoint.

    The last one signs beside it for `overlap`. Without an overlap every older one ends now; with one, those that
    still overlap go on, but never more than MAX_SECRETS sign at a time.
    """
    touched = (
        sa.update(webhook_endpoints)
        .where(
            webhook_endpoints.c.tenant_id == tenant_id,
            webhook_endpoints.c.id == endpoint_id,
            webhook_endpoints.c.deleted_at.is_(None),
        )
        .values(updated_at=NOW)
    )
    if connection.execute(touched).rowcount == 0:
        return None
    _retire(connection, tenant_id, endpoint_id, overlap)
    return add(connection, tenant_id, endpoint_id, keys)


def active(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> tuple[Sealed, ...]:
    """All that sign now, newest first; they open for the endpoint."""
    rows = connection.execute(
        sa.select(webhook_secrets.c.ciphertext, webhook_secrets.c.key_id)
        .where(*_active(tenant_id, endpoint_id))
        .order_by(webhook_secrets.c.id.desc())
    )
    return tuple(Sealed(row.ciphertext, row.key_id) for row in rows)


def default(connection: Connection, tenant_id: UUID, keys: Mapping[str, bytes]) -> Default:
    """The tenant's default secret, made at its first use."""
    made: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": tenant_id,
        "kind": "default",
        "name": "",
        "url": "",
        "event_types": [],
    }
    created = connection.execute(
        insert(webhook_endpoints)
        .values(made)
        .on_conflict_do_nothing(index_elements=["tenant_id", "url"], index_where=sa.text("kind <> 'registered'"))
        .returning(webhook_endpoints.c.id)
    )
    new = created.scalar_one_or_none()
    if new is not None:
        add(connection, tenant_id, new, keys)
    query = (
        sa.select(
            webhook_endpoints.c.id,
            webhook_endpoints.c.created_at,
            webhook_endpoints.c.updated_at,
            webhook_secrets.c.ciphertext,
            webhook_secrets.c.key_id,
            webhook_secrets.c.hint,
        )
        .join(webhook_secrets, webhook_secrets.c.endpoint_id == webhook_endpoints.c.id)
        .where(
            webhook_endpoints.c.tenant_id == tenant_id,
            webhook_endpoints.c.kind == "default",
            webhook_secrets.c.expires_at.is_(None),
        )
    )
    row = connection.execute(query).one()
    return Default(row.id, Sealed(row.ciphertext, row.key_id), row.hint, row.created_at, row.updated_at)


def _retire(connection: Connection, tenant_id: UUID, endpoint_id: UUID, overlap: timedelta) -> None:
    older = sa.update(webhook_secrets).where(*_active(tenant_id, endpoint_id))
    if not overlap:
        connection.execute(older.values(expires_at=NOW))
        return
    connection.execute(older.where(webhook_secrets.c.expires_at.is_(None)).values(expires_at=NOW + overlap))
    kept = (
        sa.select(webhook_secrets.c.id)
        .where(*_active(tenant_id, endpoint_id))
        .order_by(webhook_secrets.c.id.desc())
        .limit(MAX_SECRETS - 1)
    )
    connection.execute(older.where(webhook_secrets.c.id.not_in(kept)).values(expires_at=NOW))


def _active(tenant_id: UUID, endpoint_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        webhook_secrets.c.tenant_id == tenant_id,
        webhook_secrets.c.endpoint_id == endpoint_id,
        sa.or_(webhook_secrets.c.expires_at.is_(None), webhook_secrets.c.expires_at > NOW),
    )
