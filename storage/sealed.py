"""Which encryption key each stored secret is under, and moving them to the newest one."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from storage.secrets import Sealed, seal, unseal
from storage.tables import webhook_secrets


def by_key_for_any_tenant(connection: Connection) -> dict[str, int]:
    """Secrets of webhooks under each encryption key: one that has none may be taken out of the settings."""
    query = sa.select(webhook_secrets.c.key_id, sa.func.count()).group_by(webhook_secrets.c.key_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def reseal_for_any_tenant(connection: Connection, keys: Mapping[str, bytes], limit: int) -> int:
    """Encrypt up to `limit` secrets anew under the first key; how many. Raises UnreadableSecret."""
    old = connection.execute(
        sa.select(webhook_secrets)
        .where(webhook_secrets.c.key_id != next(iter(keys)))
        .limit(limit)
        .with_for_update(key_share=True)
    ).all()
    for row in old:
        secret = unseal(Sealed(row.ciphertext, row.key_id), keys, row.endpoint_id)
        sealed = seal(secret, keys, row.endpoint_id)
        changed = sa.update(webhook_secrets).where(webhook_secrets.c.id == row.id)
        connection.execute(changed.values(ciphertext=sealed.ciphertext, key_id=sealed.key_id))
    return len(old)
