"""Forced row-level security, as every migration that adds a tenant's table applies it."""

from __future__ import annotations

from alembic import op


def isolate(table: str, column: str = "tenant_id") -> None:
    """A tenant sees its own rows; without a tenant there are none. The service sees all. The owner is no exception."""
    mine = f"{column} = nullif(current_setting('kinema.tenant', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO kinema_tenant USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY service ON {table} TO kinema_service USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO kinema_tenant, kinema_service")


def append_only(table: str) -> None:
    """Nobody but the owner rewrites what happened."""
    op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM kinema_tenant, kinema_service")
