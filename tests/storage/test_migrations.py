from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from domain.lifecycle import TRANSITIONS, State
from storage.bootstrap import bootstrap
from storage.tables import TENANT_TABLES, metadata


def test_migrations_build_exactly_the_metadata(owner_url: str) -> None:
    engine = sa.create_engine(owner_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_bootstrap_and_upgrade_may_run_again(owner_url: str) -> None:
    migrations.upgrade(owner_url)
    engine = sa.create_engine(owner_url)
    with engine.connect() as connection:
        head = ScriptDirectory.from_config(migrations.config(owner_url)).get_current_head()
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == head
    engine.dispose()


def test_no_revision_goes_backward(owner_url: str) -> None:
    scripts = ScriptDirectory.from_config(migrations.config(owner_url)).walk_revisions()
    assert all(not hasattr(script.module, "downgrade") for script in scripts)


def test_what_stands_beside_online_changes_bears_repetition(owner_url: str) -> None:
    scripts = ScriptDirectory.from_config(migrations.config(owner_url)).walk_revisions()
    texts = [Path(script.path).read_text() for script in scripts]
    beside = [text for text in texts if "online." in text]
    assert beside
    for text in beside:
        statements = re.findall(r"(?:CREATE|ALTER|DROP|UPDATE|INSERT|DELETE)\b[^;]*", text)
        assert all(re.search(r"IF (NOT )?EXISTS|OR REPLACE", statement) for statement in statements), text


def test_the_trigger_knows_exactly_the_moves_of_the_domain(owner_url: str) -> None:
    engine = sa.create_engine(owner_url)
    with engine.connect() as connection:
        source = connection.scalar(sa.text("SELECT prosrc FROM pg_proc WHERE proname = 'kinema_guard_state'"))
    engine.dispose()
    moves = set(re.findall(r"'(\w+)>(\w+)'", str(source)))
    assert moves == {(str(before), str(after)) for before in State for after in TRANSITIONS[before]}


def test_every_table_with_a_tenant_is_isolated_even_from_its_owner(owner_url: str) -> None:
    engine = sa.create_engine(owner_url)
    query = sa.text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity AND relforcerowsecurity")
    with engine.connect() as connection:
        isolated = set(connection.scalars(query))
    engine.dispose()
    assert isolated == {*TENANT_TABLES, "tenants"}


def test_a_password_with_awkward_characters_works(owner_url: str) -> None:
    password = "o'no: %s :name \\ \""
    engine = sa.create_engine(owner_url)
    with engine.connect() as connection:
        before = connection.scalar(sa.text("SELECT rolpassword FROM pg_authid WHERE rolname = 'kinema_login'"))
    try:
        bootstrap(owner_url, password)
        url = sa.make_url(owner_url).set(username="kinema_login", password=password)
        other = sa.create_engine(url)
        with other.connect() as connection:
            assert connection.scalar(sa.text("SELECT current_user")) == "kinema_login"
        other.dispose()
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER ROLE kinema_login PASSWORD '{before}'")
        engine.dispose()


@pytest.mark.parametrize("table", ["videos", "tenants", "workers"])
def test_the_login_role_itself_may_read_nothing(database_url: str, table: str) -> None:
    engine = sa.create_engine(database_url)
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), engine.connect() as connection:
        connection.execute(sa.text(f"SELECT * FROM {table}"))  # noqa: S608 - the parameter is our own
    engine.dispose()


def test_a_migrator_that_waits_for_another_says_so_once(owner_url: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = sa.create_engine(owner_url, poolclass=sa.NullPool)
    with engine.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(sa.text("SELECT pg_advisory_lock(hashtext('kinema migrations'))"))
        waiting = pool.submit(migrations.upgrade, owner_url)
        time.sleep(5)
        early = waiting.done()
        other.execute(sa.text("SELECT pg_advisory_unlock(hashtext('kinema migrations'))"))
        waiting.result(20)
    assert not early
    assert caplog.messages == ["another migrator is at work; this one waits until it is done"]
