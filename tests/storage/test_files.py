from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from domain import ids
from domain.errors import NotFound, QuotaExceeded
from storage import characters, files, outputs, tenants
from storage.database import Database
from storage.files import NewFile
from storage.objects import ObjectStore

QUOTA = 1_000_000


@pytest.fixture
def tenant_id(database: Database) -> UUID:
    with database.transaction_for_any_tenant() as connection:
        return tenants.create_for_any_tenant(connection, f"t{uuid4().hex}").id


def new(purpose: files.Purpose = "batch", lives_seconds: int | None = None) -> NewFile:
    return NewFile(purpose=purpose, filename="a.jsonl", content_type="application/jsonl", lives_seconds=lives_seconds)


def write(
    database: Database, store: ObjectStore, tenant_id: UUID, content: bytes = b"{}\n", lives_seconds: int | None = None
) -> files.File:
    return files.write(database, store, tenant_id, new(lives_seconds=lives_seconds), content, quota_bytes=QUOTA)


def doomed(database: Database, tenant_id: UUID) -> list[str]:
    query = sa.text("SELECT key FROM objects WHERE tenant_id = :tenant AND doomed_at IS NOT NULL")
    with database.transaction(tenant_id) as connection:
        return list(connection.scalars(query, {"tenant": tenant_id}))


def test_a_file_is_stored_found_and_read(database: Database, object_store: ObjectStore, tenant_id: UUID) -> None:
    made = write(database, object_store, tenant_id)
    with database.transaction(tenant_id) as connection:
        found = files.find(connection, tenant_id, made.id)
        assert files.used_bytes(connection, tenant_id) == files.LEAST_BYTES, "however few its bytes"
    assert found == made
    assert b"".join(files.content(object_store, made).body) == b"{}\n"
    assert doomed(database, tenant_id) == []


def test_another_tenant_s_file_is_no_file(database: Database, object_store: ObjectStore, tenant_id: UUID) -> None:
    made = write(database, object_store, tenant_id)
    with database.transaction_for_any_tenant() as connection:
        other = tenants.create_for_any_tenant(connection, "other").id
    with database.transaction(other) as connection:
        assert files.find(connection, other, made.id) is None
        assert files.page(connection, other) == ([], False)
        with pytest.raises(NotFound):
            files.remove(connection, other, made.id)
    with database.transaction(other) as connection:
        assert files.find(connection, tenant_id, made.id) is None, "row-level security does not care for arguments"


def test_a_removed_file_leaves_its_bytes_to_the_sweeper(
    database: Database, object_store: ObjectStore, tenant_id: UUID
) -> None:
    made = write(database, object_store, tenant_id)
    with database.transaction(tenant_id) as connection:
        files.remove(connection, tenant_id, made.id)
    with database.transaction(tenant_id) as connection:
        assert files.find(connection, tenant_id, made.id) is None
        with pytest.raises(NotFound):
            files.remove(connection, tenant_id, made.id)
    assert doomed(database, tenant_id) == [made.object_key]


def test_an_expired_file_is_gone_at_once_and_swept_later(
    database: Database, object_store: ObjectStore, tenant_id: UUID
) -> None:
    made = write(database, object_store, tenant_id, lives_seconds=-1)
    kept = write(database, object_store, tenant_id, lives_seconds=3600)
    with database.transaction(tenant_id) as connection:
        assert files.find(connection, tenant_id, made.id) is None
        assert files.page(connection, tenant_id) == ([kept], False)
    with database.transaction_for_any_tenant() as connection:
        assert files.forget_expired_for_any_tenant(connection, 100) >= 1
    assert doomed(database, tenant_id) == [made.object_key]


def test_pages_follow_each_other_in_both_orders(database: Database, object_store: ObjectStore, tenant_id: UUID) -> None:
    made = [write(database, object_store, tenant_id) for _ in range(3)]
    with database.transaction(tenant_id) as connection:
        assert files.page(connection, tenant_id, limit=2) == (made[:0:-1], True)
        assert files.page(connection, tenant_id, limit=2, after=made[1].id) == (made[:1], False)
        assert files.page(connection, tenant_id, limit=2, order="asc") == (made[:2], True)
        assert files.page(connection, tenant_id, purpose="vision") == ([], False)


def test_the_quota_counts_files_and_characters(database: Database, object_store: ObjectStore, tenant_id: UUID) -> None:
    character_id = ids.new_id()
    key = characters.key(tenant_id, character_id)
    with database.transaction(tenant_id) as connection:
        files.register(connection, tenant_id, key, 600_000, QUOTA)
        made = characters.create(
            connection, tenant_id, character_id, name="Mo", size=600_000, facts={}, quota_bytes=QUOTA
        )
        assert characters.find(connection, tenant_id, character_id) == made
    with pytest.raises(QuotaExceeded, match="Delete some first"):
        write(database, object_store, tenant_id, bytes(400_001))
    write(database, object_store, tenant_id, bytes(400_000))


def test_the_quota_bounds_the_number_of_tiny_files(
    database: Database, object_store: ObjectStore, tenant_id: UUID
) -> None:
    room = 2 * files.LEAST_BYTES
    for _ in range(2):
        files.write(database, object_store, tenant_id, new(), b"{}\n", quota_bytes=room)
    with pytest.raises(QuotaExceeded):
        files.write(database, object_store, tenant_id, new(), b"{}\n", quota_bytes=room)


def test_what_has_no_quota_neither_sums_nor_waits_for_uploads(
    database: Database, object_store: ObjectStore, tenant_id: UUID
) -> None:
    """Results of a batch: one transaction adopts two of them."""
    write(database, object_store, tenant_id)
    ran: list[str] = []
    with database.transaction(tenant_id) as connection:
        sa.event.listen(connection, "before_cursor_execute", lambda *call: ran.append(call[2]))
        for _ in range(2):
            file = new("batch_output")
            files.register(connection, tenant_id, files.key(tenant_id, file), 3, None)
            files.create(connection, tenant_id, file, 3, None)
    assert len(ran) == 6
    assert not any("sum(" in sql or "advisory" in sql for sql in ran), ran


def test_the_quota_is_summed_from_indexes_alone(database: Database, tenant_id: UUID) -> None:
    many = (
        "INSERT INTO files (id, tenant_id, purpose, filename, bytes, content_type, object_key)"
        " SELECT gen_random_uuid(), :tenant, 'vision', '', 5, 'image/png', '' FROM generate_series(1, 3000)"
    )
    ran: list[tuple[str, Any]] = []
    with database.transaction(tenant_id) as connection:
        connection.execute(sa.text(many), {"tenant": tenant_id})
        for way in ("seqscan", "bitmapscan"):
            connection.execute(sa.text(f"SET LOCAL enable_{way} = off"))
        sa.event.listen(connection, "before_cursor_execute", lambda *call: ran.append((call[2], call[3])))
        assert files.used_bytes(connection, tenant_id) == 3000 * files.LEAST_BYTES
        sql, values = ran[0]
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars())
    assert "Index Only Scan using files_by_tenant" in plan, plan
    assert "Index Only Scan using characters_by_tenant" in plan, plan


def test_uploads_at_the_same_time_do_not_pass_the_quota_together(
    database: Database, object_store: ObjectStore, tenant_id: UUID
) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(6)

    def upload() -> None:
        together.wait()
        try:
            write(database, object_store, tenant_id, bytes(300_000))
            outcomes.append("stored")
        except QuotaExceeded:
            outcomes.append("refused")

    threads = [threading.Thread(target=upload) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 3 + ["stored"] * 3


def test_what_was_put_and_never_adopted_is_swept(
    database: Database, object_store: ObjectStore, tenant_id: UUID
) -> None:
    file = new()
    key = files.key(tenant_id, file)
    with database.transaction(tenant_id) as connection:
        files.register(connection, tenant_id, key, 3, QUOTA)
    object_store.put(key, b"{}\n", file.content_type)
    assert doomed(database, tenant_id) == [key]
    with database.transaction_for_any_tenant() as connection:
        connection.execute(
            sa.text("UPDATE objects SET doomed_at = now() - interval '1 day' WHERE key = :key"), {"key": key}
        )
        assert outputs.Doomed(key, again=False) in outputs.take_doomed_for_any_tenant(connection, 0, 60, 100)
