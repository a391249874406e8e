from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from domain.administration import Actor
from domain.errors import Conflict, NotFound
from domain.ids import Kind, new_id, public
from storage import administration, audit, keys, tenants
from storage.audit import Wanted
from tests.fixtures.videos import World

PEPPERS = {"1": b"pepper"}
ACTOR = Actor("adm_1", "req_1")


def entries(world: World, **wanted: object) -> list[audit.Entry]:
    with world.database.transaction_for_any_tenant() as connection:
        found, _ = audit.page_for_any_tenant(connection, Wanted(**wanted), after=None, limit=100)
    return list(found)


def test_a_change_of_a_tenant_is_written_down_with_what_differs_and_nothing_else(world: World) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        made = administration.create_tenant_for_any_tenant(connection, ACTOR, {"name": "alice", "weight": 2.0})
        administration.update_tenant(connection, made.id, ACTOR, {"weight": 3.0, "name": "alice"})
        administration.update_tenant(connection, made.id, ACTOR, {"weight": 3.0})
        administration.switch_tenant(connection, made.id, ACTOR, disabled=True)
        administration.switch_tenant(connection, made.id, ACTOR, disabled=True)
    disabled, updated, created = entries(world, tenant=made.id)
    assert (created.action, created.before, created.after["name"]) == ("tenant.created", None, "alice")
    assert (updated.before, updated.after) == ({"weight": 2.0}, {"weight": 3.0})
    assert (disabled.action, disabled.before) == ("tenant.disabled", {"disabled_at": None})
    assert {(each.actor, each.request_id, each.target) for each in (disabled, updated, created)} == {
        ("adm_1", "req_1", public(Kind.TENANT, made.id))
    }


def test_nobody_rewrites_the_log_not_even_the_owner(world: World, owner_url: str) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        administration.create_tenant_for_any_tenant(connection, ACTOR, {"name": "alice"})
    for statement in ("UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with (
            pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
            world.database.transaction_for_any_tenant() as connection,
        ):
            connection.execute(sa.text(statement))
        engine = sa.create_engine(owner_url, poolclass=sa.NullPool)
        with pytest.raises(sa.exc.ProgrammingError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))
    assert len(entries(world)) == 1


@pytest.mark.parametrize("table", ["audit_log", "admin_keys"])
def test_a_tenant_sees_nothing_of_administration(world: World, table: str) -> None:
    tenant = world.tenant()
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        world.database.transaction(tenant) as connection,
    ):
        connection.execute(sa.text(f"SELECT * FROM {table}"))  # noqa: S608 - the parameter is our own


def test_a_change_that_fails_leaves_no_row(world: World) -> None:
    with pytest.raises(NotFound), world.database.transaction_for_any_tenant() as connection:
        administration.update_tenant(connection, new_id(), ACTOR, {"weight": 2.0})
    assert entries(world) == []


def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_is_over(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        old, old_text = administration.create_key(
            connection, tenant, ACTOR, {"name": "ci", "scopes": ["videos:read"]}, PEPPERS
        )
        new, new_text = administration.rotate_key(
            connection, tenant, ACTOR, old.id, overlap=timedelta(hours=1), peppers=PEPPERS
        )
        ending = keys.find(connection, tenant, old.id)
        both = [keys.identify_for_any_tenant(connection, text, PEPPERS) for text in (old_text, new_text)]
    assert [caller and caller.scopes for caller in both] == [("videos:read",), ("videos:read",)]
    assert (new.name, new.replaces, new.expires_at) == ("ci", old.id, None)
    left = ending.expires_at - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert [each.action for each in entries(world, tenant=tenant)] == ["key.created", "key.rotated", "key.created"]
    assert not any(text in repr(entries(world)) for text in (old_text, new_text)), "a key is never written down"


def test_without_overlap_the_old_key_ends_at_once_and_a_limited_life_begins_anew(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        old, old_text = administration.create_key(connection, tenant, ACTOR, {"name": "ci", "expires_in": 600}, PEPPERS)
        new, _ = administration.rotate_key(connection, tenant, ACTOR, old.id, overlap=timedelta(0), peppers=PEPPERS)
    assert timedelta(seconds=590) < new.expires_at - new.created_at <= timedelta(seconds=601)
    with world.database.transaction_for_any_tenant() as connection:
        assert keys.identify_for_any_tenant(connection, old_text, PEPPERS) is None
        with pytest.raises(Conflict):
            administration.rotate_key(connection, tenant, ACTOR, old.id, overlap=timedelta(0), peppers=PEPPERS)


def test_an_overlap_never_makes_a_key_live_longer(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        old, _ = administration.create_key(connection, tenant, ACTOR, {"name": "ci", "expires_in": 60}, PEPPERS)
        administration.rotate_key(connection, tenant, ACTOR, old.id, overlap=timedelta(days=1), peppers=PEPPERS)
        assert keys.find(connection, tenant, old.id).expires_at == old.expires_at


def test_a_revoked_key_cannot_be_brought_back(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        made, text = administration.create_key(connection, tenant, ACTOR, {"name": "ci"}, PEPPERS)
        administration.revoke_key(connection, tenant, ACTOR, made.id)
        again = administration.revoke_key(connection, tenant, ACTOR, made.id)
        assert again.revoked_at is not None
        assert keys.identify_for_any_tenant(connection, text, PEPPERS) is None
        with pytest.raises(Conflict):
            administration.update_key(connection, tenant, ACTOR, made.id, {"expires_in": 60})
    assert [each.action for each in entries(world, tenant=tenant)] == ["key.revoked", "key.created"]


def test_anothers_key_is_not_found(world: World) -> None:
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    with world.database.transaction_for_any_tenant() as connection:
        made, _ = administration.create_key(connection, theirs, ACTOR, {"name": "ci"}, PEPPERS)
        for change in (administration.revoke_key, lambda *given: administration.update_key(*given, {"name": "x"})):
            with pytest.raises(NotFound):
                change(connection, mine, ACTOR, made.id)


def test_a_use_is_written_at_most_once_a_minute_and_moves_a_key_to_the_newest_pepper(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        made, text = administration.create_key(connection, tenant, ACTOR, {"name": "ci"}, PEPPERS)
        keys.note_uses_for_any_tenant(connection, {made.id: None}, "1")
        first = keys.find(connection, tenant, made.id).last_used_at
        keys.note_uses_for_any_tenant(connection, {made.id: None}, "1")
        assert keys.find(connection, tenant, made.id).last_used_at == first
        newest = {"2": b"new", **PEPPERS}
        assert keys.by_pepper_for_any_tenant(connection) == {"1": 1}
        keys.note_uses_for_any_tenant(connection, {made.id: keys.keys.digest(text, b"new")}, "2")
        assert keys.by_pepper_for_any_tenant(connection) == {"2": 1}
        assert keys.identify_for_any_tenant(connection, text, {"2": newest["2"]}).key_id == made.id


def test_pages_of_the_log_follow_each_other(world: World) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        made = [
            administration.create_tenant_for_any_tenant(connection, ACTOR, {"name": str(number)}) for number in range(5)
        ]
        first, more = audit.page_for_any_tenant(connection, Wanted(), after=None, limit=3)
        rest, end = audit.page_for_any_tenant(connection, Wanted(), after=first[-1].id, limit=3)
        assert (more, end) == (True, False)
        assert [each.tenant for each in (*first, *rest)] == [tenant.id for tenant in reversed(made)]
        some, _ = tenants.page_for_any_tenant(connection, name="3", after=None, limit=10)
        assert [tenant.id for tenant in some] == [made[3].id]
    assert entries(world, until=first[-1].at)[0].id == rest[0].id
    assert entries(world, action="key.created") == []
